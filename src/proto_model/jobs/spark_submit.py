"""spark-submit as a process that ends with all that it started, in time."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proto_model.jobs.errors import JobError, JobFailedError
from proto_model.jobs.job import DRIVER_FILE, Job
from proto_model.jobs.options import JobOptions
from proto_model.jobs.spark_folder import SparkFolder
from proto_model.sources.ending import MARK, end_all
from proto_model.sources.limits import environment

LOCAL = "local[*]"
_MASTER = re.compile(r"local(\[.*\])?|(yarn|(spark|k8s|mesos)://\S+)")
_SPARK_VARIABLES = (
    "SPARK_CONF_DIR", "YARN_CONF_DIR", "SPARK_LOCAL_IP", "SPARK_LOCAL_DIRS", "SPARK_DIST_CLASSPATH",
    "KRB5CCNAME", "KRB5_CONFIG", "PYSPARK_PYTHON", "HADOOP_USER_NAME",
)  # fmt: skip
_FLAGS = frozenset((
    "--name", "--queue", "--driver-memory", "--driver-cores", "--executor-memory", "--executor-cores",
    "--total-executor-cores", "--num-executors", "--packages", "--exclude-packages", "--repositories",
    "--jars", "--archives", "--principal", "--keytab", "--proxy-user", "--driver-class-path",
    "--driver-library-path", "--driver-java-options",
))  # fmt: skip
_BARE_FLAGS = {"-v": "--verbose", "--verbose": "--verbose", "--supervise": "--supervise"}
_FAILURE_FILE = "model_job_failure.json"
_LOOK_S = 0.1


def is_local(master: str) -> bool:
    """Whether Spark runs in processes of this machine."""
    return master.startswith("local")


def master_of(job: Job, options: JobOptions) -> str:
    """Spark's master: the command's, the job's own, or this machine."""
    given = options.master or job.spark_conf.get("--master") or job.spark_conf.get("spark.master") or LOCAL
    if not _MASTER.fullmatch(given):
        raise JobError(
            f"The master {given[:80]!r} is none of Spark's. Give local[*], yarn, spark://host:7077 or k8s://..."
        )
    return given


def command(job: Job, folder: SparkFolder, master: str, program: str) -> list[str]:
    """The command line; a JobError says which setting of the job it cannot take."""
    given = [program, "--master", master, "--name", job.source.filename if job.source else "job"]
    given += ["--conf", "spark.log.level=WARN"]
    if is_local(master):  # nothing that others could reach
        given += ["--conf", "spark.ui.enabled=false", "--conf", "spark.driver.bindAddress=127.0.0.1"]
        given += ["--conf", "spark.driver.host=127.0.0.1"]
    for key, value in job.spark_conf.items():
        given += _setting(key, value)
    given += ["--py-files", ",".join(folder.python_files), "--files", ",".join(folder.shipped)]
    return [*given, DRIVER_FILE]


def _setting(key: str, value: str) -> list[str]:
    if key in ("--master", "spark.master"):
        return []
    if key in ("--deploy-mode", "spark.submit.deployMode"):
        if value == "client":
            return []
        raise JobError(
            f"targetEngine.sparkConf[{key!r}]: deploy mode {value[:40]!r} leaves outputDir on the cluster. "
            "Leave it out."
        )
    if key.startswith("spark.") and "=" not in key:
        return ["--conf", f"{key}={value}"]
    if key in _FLAGS:
        return [key, value]
    if key in _BARE_FLAGS:
        return [_BARE_FLAGS[key]] if value.lower() in ("", "true") else []
    raise JobError(
        f"targetEngine.sparkConf[{key[:80]!r}] is not passed on to spark-submit. Give settings that begin "
        f"with spark., or one of {', '.join(sorted(_FLAGS))}."
    )


def program_of(variables: Mapping[str, str]) -> str:
    """Path of spark-submit; a JobError says how to get it, or Java."""
    home = variables.get("SPARK_HOME")
    beside = Path(sys.executable).with_name("spark-submit")
    candidates = [str(Path(home, "bin", "spark-submit"))] if home else [str(beside), "spark-submit"]
    found = next(filter(None, map(shutil.which, candidates)), None)
    if found is None:
        raise JobError(
            f"Spark is not installed{f' in SPARK_HOME={home}' if home else ''}. Install it with: "
            'pip install "pyspark>=4.1,<5", or set SPARK_HOME'
        )
    java = variables.get("JAVA_HOME")
    if shutil.which(str(Path(java, "bin", "java")) if java else "java") is None:
        raise JobError("Spark needs Java, which was not found. Install Java 17, or set JAVA_HOME.")
    return found


def spark_environment(options: JobOptions) -> dict[str, str]:
    """Variables of spark-submit: those of any source, and Spark's own."""
    named = [name for name in _SPARK_VARIABLES if name in os.environ]
    variables = environment((*named, *options.variables))
    variables.setdefault("PYSPARK_PYTHON", options.python)
    return variables


class SparkSubmit:
    """A run of spark-submit in a working directory."""

    def __init__(
        self, given: list[str], folder: Path, options: JobOptions, variables: Mapping[str, str]
    ) -> None:
        self._folder, self._options = folder, options
        self._mark = secrets.token_hex(16)
        self._kept, self._most = bytearray(), options.limits.log_kb * 1024
        try:
            self._process = subprocess.Popen(
                given,
                cwd=folder,
                env={**variables, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise JobError(f"Cannot start {given[0]}: {error.strerror}. Check SPARK_HOME.") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        """The last of what Spark and the source printed."""
        return bytes(self._kept).decode("utf-8", "replace")

    def wait(self) -> None:
        """Wait for the end; a JobFailedError says that it failed or took too long."""
        deadline = time.monotonic() + self._options.limits.timeout_s
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                raise JobFailedError(
                    f"The job did not end within {self._options.limits.timeout_s:g} s and was ended. Give it "
                    "more with --timeout, or fewer records."
                )
            time.sleep(_LOOK_S)
        self._reader.join(_LOOK_S * 30)
        if self._process.returncode != 0:
            raise JobFailedError(self._failure())

    def close(self) -> None:
        """End the process and all that it started."""
        end_all(self._process, self._mark)
        self._reader.join(_LOOK_S * 30)

    def __enter__(self) -> SparkSubmit:
        """The process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def _read(self) -> None:
        pipe: Any = self._process.stdout
        with pipe:
            while chunk := pipe.read1(1 << 16):
                self._kept += chunk
                del self._kept[: -self._most]

    def _failure(self) -> str:
        """What the function raised, or else how spark-submit ended."""
        path = self._folder / _FAILURE_FILE
        try:
            told = json.loads(path.read_bytes())
            kind, text, line = told["type"], str(told["text"]), told["line"]
        except (OSError, ValueError, KeyError, TypeError):
            status = self._process.returncode
            ended = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
            return f"spark-submit {ended}. The log says why."
        first = next((one.strip() for one in text.splitlines() if one.strip()), "")[:500]
        where = "" if line is None else f" in line {line}"
        return f"The source raised {kind}{where}{f': {first}' if first else ''}"
