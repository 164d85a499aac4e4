"""Champion against challenger: compare two model versions, promote the better one, take a promotion back."""

from proto_model.registry.promotion.comparison import Comparison, ComparisonError, compare
from proto_model.registry.promotion.decision import Criteria, Decision, decide
from proto_model.registry.promotion.procedure import Rollback, compare_and_promote, roll_back
from proto_model.registry.promotion.report import Report, write_report

__all__ = [
    "Comparison",
    "ComparisonError",
    "Criteria",
    "Decision",
    "Report",
    "Rollback",
    "compare",
    "compare_and_promote",
    "decide",
    "roll_back",
    "write_report",
]
