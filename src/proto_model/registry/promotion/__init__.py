"""Champion against challenger: compare two model versions, promote the better one, undo a promotion."""

from typing import TYPE_CHECKING

from proto_model.lazy import lazy_names

if TYPE_CHECKING:
    from proto_model.registry.promotion.decision import Criteria
    from proto_model.registry.promotion.gates import parse_gates
    from proto_model.registry.promotion.journal import Recovery
    from proto_model.registry.promotion.moves import settle
    from proto_model.registry.promotion.procedure import Rollback, compare_and_promote, roll_back
    from proto_model.registry.promotion.report import Report, report_sentences, report_table, write_report

__all__ = [
    "Criteria",
    "Recovery",
    "Report",
    "Rollback",
    "compare_and_promote",
    "parse_gates",
    "report_sentences",
    "report_table",
    "roll_back",
    "settle",
    "write_report",
]

__getattr__ = lazy_names(
    __name__,
    {
        "decision": ("Criteria",),
        "gates": ("parse_gates",),
        "journal": ("Recovery",),
        "moves": ("settle",),
        "procedure": ("Rollback", "compare_and_promote", "roll_back"),
        "report": ("Report", "report_sentences", "report_table", "write_report"),
    },
)
