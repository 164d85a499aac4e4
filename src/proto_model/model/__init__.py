"""The served model: what it is made of, and what every way of serving it shares.

Importing this package loads neither mlflow nor pandas nor scikit-learn.
"""

from proto_model.model.answer import Answer, AnswerField
from proto_model.model.bundle import BackgroundKind, Bundle, background_rows, write_bundle
from proto_model.model.decision import Decision
from proto_model.model.kinds import KINDS, answer_fields
from proto_model.model.predictor import Predictor
from proto_model.model.rows import RowReader, coded_rows

__all__ = [
    "KINDS",
    "Answer",
    "AnswerField",
    "BackgroundKind",
    "Bundle",
    "Decision",
    "Predictor",
    "RowReader",
    "answer_fields",
    "background_rows",
    "coded_rows",
    "write_bundle",
]
