"""Where a version comes from: a statement of its training, and a bill of what it is made of."""

from proto_model.registry.provenance.bill import BILL_FILE, bill_of_materials
from proto_model.registry.provenance.origin import Origin, origin_of
from proto_model.registry.provenance.statement import PROVENANCE, STATEMENT_FILE, provenance_statement

__all__ = [
    "BILL_FILE",
    "PROVENANCE",
    "STATEMENT_FILE",
    "Origin",
    "bill_of_materials",
    "origin_of",
    "provenance_statement",
]
