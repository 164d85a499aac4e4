"""Model sources with smart tags, as ModelOp has them: read, run in a process with limits, and checked.

Nothing here loads MLflow, pandas or scikit-learn; the process in which a source runs loads what it imports.
"""

from proto_model.sources.attachments import OUTPUT_DIR, SOURCE_FILE, unpack
from proto_model.sources.avro import AvroSchema
from proto_model.sources.data import BadRecord, read_records
from proto_model.sources.errors import SourceError
from proto_model.sources.keeper import Keeper, RejectedError
from proto_model.sources.limits import Limits
from proto_model.sources.process import SourceEndedError, SourceSlowError
from proto_model.sources.runner import Outcome, run
from proto_model.sources.session import Options, Result, Session, SourceModel, session, unpacked
from proto_model.sources.source import Function, Source

__all__ = [
    "OUTPUT_DIR",
    "SOURCE_FILE",
    "AvroSchema",
    "BadRecord",
    "Function",
    "Keeper",
    "Limits",
    "Options",
    "Outcome",
    "RejectedError",
    "Result",
    "Session",
    "Source",
    "SourceEndedError",
    "SourceError",
    "SourceModel",
    "SourceSlowError",
    "read_records",
    "run",
    "session",
    "unpack",
    "unpacked",
]
