"""Files of rows in, files of predictions out: CSV, JSON Lines, Parquet and Arrow IPC of any size.

Importing this package loads neither mlflow nor pandas nor scikit-learn; the served model is in `files.model`.
"""

from proto_model.files.formats import FORMATS, FileFormat
from proto_model.files.jobs import FileJob, run_jobs
from proto_model.files.local import score_file
from proto_model.files.options import FileOptions
from proto_model.files.scoring import Scored, ScoringModel, score
from proto_model.files.summary import Summary

__all__ = [
    "FORMATS",
    "FileFormat",
    "FileJob",
    "FileOptions",
    "Scored",
    "ScoringModel",
    "Summary",
    "run_jobs",
    "score",
    "score_file",
]
