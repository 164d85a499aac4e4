"""The application that spark-submit runs: calls a job's function with the files of its job.

The function gets three lists of assets: what to read, where to write, and the files of the model. What it
yields or returns goes to model_job_outputs.jsonl, what it raises to model_job_failure.json. It runs on the
Python of a cluster, so it needs nothing of this project.
"""

import json
import sys
import traceback
import types
from typing import Any


def main() -> None:
    """Call the function."""
    import model_job_metadata as job
    import model_source_code as source

    init = getattr(job, "init_to_be_executed", None)
    if init is not None:
        getattr(source, init)()
    function = getattr(source, job.method_to_be_executed)
    _keep(function(job.job_input, job.job_output, job.job_model_assets_input))


def _keep(given: Any) -> None:
    values = given if isinstance(given, types.GeneratorType) else () if given is None else (given,)
    with open("model_job_outputs.jsonl", "w", encoding="utf-8") as file:
        for value in values:
            file.write(json.dumps(value, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if hasattr(value, "asDict"):  # a row of Spark's
        return value.asDict(recursive=True)
    if hasattr(value, "tolist"):  # of numpy
        return value.tolist()
    return str(value)


def _tell(error: BaseException) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename.endswith("model_source_code.py")]
    told = {"type": type(error).__name__, "text": str(error)[:2000], "line": lines[-1] if lines else None}
    with open("model_job_failure.json", "w", encoding="utf-8") as file:
        json.dump(told, file)


def _stop_spark() -> None:
    sql = sys.modules.get("pyspark.sql")
    session = sql.SparkSession.getActiveSession() if sql is not None else None
    if session is not None:
        session.stop()


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:  # whatever a foreign source raises is told, and ends the job
        _tell(error)
        raise
    finally:
        _stop_spark()
