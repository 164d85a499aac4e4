"""A user's data dictionary (columns.yaml): read, checked, and put into the schema of the training data."""

from proto_model.training.dictionary.document import MAX_BYTES, Document, read_document
from proto_model.training.dictionary.entries import coverage_text, described, read_entries

__all__ = ["MAX_BYTES", "Document", "coverage_text", "described", "read_document", "read_entries"]
