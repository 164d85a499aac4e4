"""The working directory of a Spark job: source, metadata, driver, and files, by ModelOp's names."""

from __future__ import annotations

import os
import pprint
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.jobs.errors import JobError
from proto_model.jobs.job import DRIVER_FILE, METADATA_FILE, Asset, Job
from proto_model.jobs.transport import Transport
from proto_model.sources import OUTPUT_DIR, SOURCE_FILE, Source

DRIVER = Path(__file__).with_name("driver") / DRIVER_FILE


@dataclass(frozen=True)
class SparkFolder:
    """A working directory; names of what spark-submit ships, and files of Python among them."""

    path: Path
    shipped: tuple[str, ...]
    python_files: tuple[str, ...]


def write_folder(
    job: Job, source: Source, transport: Transport, path: Path, *, kept: Path | None, is_local: bool
) -> SparkFolder:
    """Fill an empty working directory; a JobError says which file cannot be loaded.

    `kept` is the job's folder for outputs without a place, None if that is no folder of this machine.
    `is_local` says that Spark runs on this machine, so that files can be fetched for it.
    """
    function = source.function(job.function)
    init = source.functions.get("init")
    lists = {
        "job_input": [_resolved(one, transport, path, is_local=is_local) for one in _external(job.inputs)],
        "job_output": [_written(one, kept, is_local=is_local) for one in _external(job.outputs)],
        "job_model_assets_input": [
            _resolved(one, transport, path, is_local=is_local) for one in job.external
        ],
    }
    (path / SOURCE_FILE).write_bytes(source.content)
    methods = {"method_to_be_executed": function.name}
    if init is not None:
        methods["init_to_be_executed"] = init.name
    (path / METADATA_FILE).write_text(_metadata({**lists, **methods}), encoding="utf-8")
    shutil.copyfile(DRIVER, path / DRIVER_FILE)
    data = [*job.files, *(one for one in job.inputs if one.type == "FILE")]
    for asset in (*job.secondary, *data):
        _place(asset, transport, path)
    (path / OUTPUT_DIR).mkdir()
    python_files = (SOURCE_FILE, METADATA_FILE, *(one.filename for one in job.secondary))
    return SparkFolder(path, (*python_files, *(one.filename for one in data)), python_files)


def _metadata(values: Mapping[str, Any]) -> str:
    """Assignments in Python; plain JSON values, so nothing in them can be code."""
    return "\n".join(
        f"{name} = {pprint.pformat(value, width=100, sort_dicts=False)}\n" for name, value in values.items()
    )


def _external(assets: tuple[Asset, ...]) -> list[Asset]:
    return [one for one in assets if one.type == "EXTERNAL_FILE"]


def _place(asset: Asset, transport: Transport, folder: Path) -> None:
    if {",", "#"} & set(asset.filename):
        raise JobError(f"{asset.at}: Spark ships no file with a comma or # in its name. Rename it.")
    target = folder / asset.filename
    if target.exists():
        raise JobError(f"{asset.at}: there is another file {asset.filename!r}. Give each a name of its own.")
    found = transport.fetched(asset, folder)
    if found != target:
        shutil.copyfile(found, target)


def _resolved(asset: Asset, transport: Transport, folder: Path, *, is_local: bool) -> dict[str, Any]:
    """A whole asset, with a fileUrl that Spark can open."""
    place = asset.place
    if place is None:
        raise JobError(f"{asset.at}.fileUrl is missing. An EXTERNAL_FILE is read from there by Spark.")
    if place.kind == "web":
        if not is_local:
            raise JobError(
                f"{asset.at}.fileUrl {place}: a cluster cannot open presigned URLs. Put the file into a "
                "store that it can open, and give that URL."
            )
        fetched = Path(tempfile.mkdtemp(dir=folder.parent))
        return {**asset.document, "fileUrl": str(transport.fetched(asset, fetched))}
    if place.path is not None and is_local and not place.path.exists() and not _has_hadoop():
        raise JobError(f"{asset.at}.fileUrl: {place} does not exist. Correct the path.")
    return {**asset.document, "fileUrl": _spark_url(asset)}


def _written(asset: Asset, kept: Path | None, *, is_local: bool) -> dict[str, Any]:
    place = asset.place
    if place is None:
        if kept is None or not is_local:
            raise JobError(f"{asset.at}.fileUrl is missing. Say where Spark is to write.")
        return {**asset.document, "fileUrl": str(kept / asset.filename)}
    if place.kind == "web":
        raise JobError(
            f"{asset.at}.fileUrl {place}: Spark cannot write to a presigned URL. Give a path, or a URL of a "
            "store such as s3a:// or hdfs://."
        )
    return {**asset.document, "fileUrl": _spark_url(asset)}


def _spark_url(asset: Asset) -> str:
    """An absolute path as given: where it leads is up to the cluster. A relative one is of this machine."""
    place = asset.place
    assert place is not None
    if not place.is_relative:
        return place.text
    return f"file://{place.path}" if _has_hadoop() else str(place.path)


def _has_hadoop() -> bool:
    """Whether a path without a scheme may be one of HDFS."""
    return bool(os.environ.get("HADOOP_CONF_DIR") or os.environ.get("YARN_CONF_DIR"))
