"""What executors get: the bundle as an archive, and the part of this package that runs there."""

from __future__ import annotations

import atexit
import hashlib
import io
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import proto_model
from proto_model.model import Bundle
from proto_model.model.bundle import PIPELINE_FILE
from proto_model.spark.executor import Shipped

#: Packages of this one that workers import; beside them, the modules of the top.
ROOMS = ("batches", "explanation", "forest", "model", "spark", "table", "values")

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same content gives the same archive, whenever it is made
_shipping = threading.Lock()


def ship(spark: Any, bundle: Bundle) -> Shipped:
    """Hand a bundle and this package's code to a session, each once.

    Engines that speak Spark Connect and take no artifacts, such as Sail, get the bundle with each function;
    their workers must have this package.
    """
    from pyspark.errors import UnsupportedOperationException

    content = archive_of(
        (path.name, path) for path in sorted(bundle.folder.iterdir()) if path.name != PIPELINE_FILE
    )
    name = f"proto_model-{_digest(content)}"
    with _shipping:
        code = _written(f"proto_model-code-{_digest(_code())}", _code())
        model = _written(name, content)
        try:
            spark.addArtifacts(str(code), pyfile=True)
            spark.addArtifacts(f"{model}#{name}", archive=True)
        except UnsupportedOperationException:
            return Shipped(name, content)
    return Shipped(name)


@cache
def _code() -> bytes:
    """Archive of the modules that workers import."""
    package = Path(proto_model.__file__).parent
    files = [*package.glob("*.py")]
    for room in ROOMS:
        files += (package / room).rglob("*.py")
    return archive_of((f"proto_model/{path.relative_to(package).as_posix()}", path) for path in sorted(files))


def archive_of(files: Iterable[tuple[str, Path]]) -> bytes:
    """A zip archive of files under names; the same files give the same bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files:
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return written.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _written(name: str, content: bytes) -> Path:
    """File of an archive, which lasts as long as this process: Spark serves it to later executors."""
    path = _folder() / f"{name}.zip"
    if not path.exists():
        path.write_bytes(content)
    return path


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="proto_model-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
