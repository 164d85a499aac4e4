"""Files of rows in, files of predictions out: CSV, JSON Lines, Parquet and Arrow IPC of any size.

Importing this package loads neither mlflow nor pandas nor scikit-learn.
"""

from proto_model.batches.scoring import Explain, ScoringModel
from proto_model.files.formats import FORMAT_NAMES, FORMATS, FileFormat, Format
from proto_model.files.jobs import FileJob, Outside, Summary, run_jobs
from proto_model.files.scoring import Scored, Task, named_format, score, score_file
from proto_model.files.transfer import FileSettings

__all__ = [
    "FORMATS",
    "FORMAT_NAMES",
    "Explain",
    "FileFormat",
    "FileJob",
    "FileSettings",
    "Format",
    "Outside",
    "Scored",
    "ScoringModel",
    "Summary",
    "Task",
    "named_format",
    "run_jobs",
    "score",
    "score_file",
]
