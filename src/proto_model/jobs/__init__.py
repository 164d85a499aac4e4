"""Batch jobs in ModelOp's form: a job.json says what to run on which files, and where the results go."""

from proto_model.jobs.errors import JobError, JobFailedError
from proto_model.jobs.job import JOB_TYPES, Job
from proto_model.jobs.options import JobOptions
from proto_model.jobs.result import CANCELLED, COMPLETE, ERROR, Result
from proto_model.jobs.running import run_job

__all__ = [
    "CANCELLED",
    "COMPLETE",
    "ERROR",
    "JOB_TYPES",
    "Job",
    "JobError",
    "JobFailedError",
    "JobOptions",
    "Result",
    "run_job",
]
