"""A Spark session for one command: started quietly, local unless told otherwise, and stopped in the end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BATCH_ROWS = 1 << 16
"""Rows that go to Python at a time. With 30 doubles, Spark's own 10,000 are as fast, and take less memory."""

SPARK_LOG_LEVELS = ("off", "error", "warn", "info")

_INSTALL = 'pip install "proto-model-turbo[spark]"'
_HERE = {  # what a session on this machine alone has, unless --conf says otherwise
    "spark.ui.enabled": "false",  # it would listen on all addresses, and ask nobody for a password
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "localhost",
}
_CONFIGURED_BY = ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS")
_EVERYWHERE = {"spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS)}
_LOG4J = """\
rootLogger.level = {level}
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{HH:mm:ss}} %p %c{{1}}: %m%n
"""


@dataclass(frozen=True)
class SessionOptions:
    """Which Spark a command is to use."""

    master: str = ""  # nothing: what SPARK_HOME's configuration says, else all cores of this machine
    remote: str = ""  # address of a Spark Connect server, sc://host:port
    conf: Mapping[str, str] = field(default_factory=dict)
    log_level: str = "off"

    @classmethod
    def of(
        cls, master: str | None, remote: str | None, conf: Sequence[str], log_level: str
    ) -> SessionOptions:
        """The same from a command's words; raises InputError if they do not fit each other."""
        if master and remote:
            raise InputError("--master and --remote are two ways to name a Spark. Give one of them.")
        if remote and not remote.startswith("sc://"):
            raise InputError(f"--remote is {remote!r}, an address such as sc://localhost:15002 expected.")
        return cls(master or "", remote or "", pairs("--conf", conf), log_level)


def pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """Names and values of an option that is given as K=V, as often as wanted.

    Examples
    --------
    >>> pairs("--conf", ["spark.executor.memory=4g"])
    {'spark.executor.memory': '4g'}
    """
    for word in words:
        if not word.partition("=")[0].strip() or "=" not in word:
            raise InputError(f"{option} is {word!r}, a name and a value expected, such as NAME=VALUE.")
    return {name.strip(): value for name, _, value in (word.partition("=") for word in words)}


@contextlib.contextmanager
def session(options: SessionOptions) -> Iterator[SparkSession]:
    """The session that is there, or a new one that ends with the block.

    Raises InputError if Spark or Java is not installed, or a Connect server does not answer.
    """
    spark_session = _installed()
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module="pyspark"
    )  # on pandas, which we do not use
    running = spark_session.getActiveSession()
    with _own_interruptions():
        spark = running or _started(spark_session, options)
    try:
        yield spark
    finally:
        if running is None:
            spark.stop()


@contextlib.contextmanager
def _own_interruptions() -> Iterator[None]:
    """Keeps Ctrl-C what it is: Spark would call Java in the midst of another call, see `waiting`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _installed() -> type[SparkSession]:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise InputError(f"Spark is not installed. Install it with: {_INSTALL}") from error
    found: type[SparkSession] = SparkSession
    return found


def _started(spark_session: type[SparkSession], options: SessionOptions) -> SparkSession:
    if _is_here(options):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder: Any = spark_session.builder.appName("proto_model spark-score")
    if options.remote:
        builder = builder.remote(options.remote)
    elif options.master:
        builder = builder.master(options.master)
    with tempfile.TemporaryDirectory(prefix="proto_model-spark-") as folder:
        for name, value in _conf(options, Path(folder)).items():
            builder = builder.config(name, value)
        with _silenced(options, Path(folder) / "said") as said:
            try:
                spark: SparkSession = builder.getOrCreate()
                spark.range(1).schema  # a Connect server is asked for the first time  # noqa: B018
            except Exception as error:
                refusal = _refusal(error, options, said())
                if refusal is None:
                    raise
                raise InputError(refusal) from error
    return spark


def _is_here(options: SessionOptions) -> bool:
    """Whether Spark runs on this machine alone, for sure: its own configuration may name a cluster."""
    if options.remote:
        return False
    master = options.master or options.conf.get("spark.master", "")
    return master.startswith("local") if master else not any(name in os.environ for name in _CONFIGURED_BY)


def _conf(options: SessionOptions, folder: Path) -> dict[str, str]:
    if options.remote:
        return _EVERYWHERE | dict(options.conf)
    log4j = folder / "log4j2.properties"
    log4j.write_text(_LOG4J.format(level=options.log_level), encoding="utf-8")
    java = [
        f"-Dlog4j2.configurationFile={log4j.as_uri()}",
        options.conf.get("spark.driver.extraJavaOptions", ""),
    ]
    here = _HERE if _is_here(options) else {}
    own = {"spark.driver.extraJavaOptions": " ".join(filter(None, java))}
    return here | _EVERYWHERE | dict(options.conf) | own


@contextlib.contextmanager
def _silenced(options: SessionOptions, file: Path) -> Iterator[Any]:
    """While Java starts, it inherits a file for standard error: what it says there is nobody's concern.

    Yields a function that reads what was said so far, of which the end explains why Java did not start.
    """
    if options.remote or options.log_level != "off":
        yield lambda: ""
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with file.open("wb") as said:
        os.dup2(said.fileno(), 2)
        try:
            yield lambda: file.read_text(errors="replace")
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _refusal(error: Exception, options: SessionOptions, said: str) -> str | None:
    """What the caller can do about a session that did not start; None for a fault."""
    text = str(error)
    if "JAVA_GATEWAY_EXITED" in text or isinstance(error, FileNotFoundError):
        last = next((line for line in said.splitlines() if re.search("rror|xception|JAVA_HOME", line)), "")
        return (
            "Java did not start, which Spark needs (17 or 21). Install it, and set JAVA_HOME if `java` is "
            f"not on the PATH.{' It said: ' + last.strip() if last else ''}"
        )
    if options.remote:
        why = first_sentence(text)
        return f"Spark Connect at {_shown(options.remote)} does not answer: {why} Is it running there?"
    if "Could not parse Master URL" in text:
        return (
            f"--master is {options.master!r}, such as local[*], spark://host:7077, yarn or k8s://… expected."
        )
    return None


def _shown(remote: str) -> str:
    """Address of a Connect server without its parameters, one of which is a token."""
    return remote.partition(";")[0].rstrip("/")


def first_sentence(text: str) -> str:
    """The first line that says something, short, with a full stop."""
    line = next((line.strip() for line in text.splitlines() if line.strip(" <>")), "no reason given")
    details = re.search(r'details = "(.*?)"', text)
    line = (details[1] if details else line)[:300].rstrip(". ")
    return f"{line}."
