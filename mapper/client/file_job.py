"""A file's whole round by way of a store: up, scored, and down again; nothing is left behind."""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mapper.client.progress import NoProgress, Progress
from mapper.client.store import Store
from mapper.errors import InvalidRequestError, MapperError, RefusedByModelError, SettingsError

__all__ = ["predict_file"]

logger = logging.getLogger(__name__)

Ask = Callable[[dict[str, Any]], dict[str, Any]]

# Expired since long: a model for files refuses the job by its looks, and opens no URL.
REHEARSAL_URL = "https://store.invalid/k?X-Amz-Signature=0&X-Amz-Date=20000101T000000Z&X-Amz-Expires=1"


def predict_file(
    file: Path,
    out: Path,
    store: Store,
    ask: Ask,
    *,
    parameters: Mapping[str, Any] | None = None,
    file_id: str | None = None,
    session: Any = None,
    expires_s: int = 4 * 3600,
    keep: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The mapper's answer for a file, whose predictions are in `out` then.

    Whatever happens, `out` is complete or as it was, and the two objects are removed from the store.

    Parameters
    ----------
    file : Path
        Rows; its name says the format where the content does not.
    out : Path
        Appears when all predictions are there and are what the model wrote.
    store : Store
        For two objects that exist meanwhile.
    ask : callable
        Gives the mapper's answer to a request.
    parameters : mapping, optional
        Of the request, such as `passthrough`.
    file_id : str, optional
        What answers and logs call the job; by default the file's name.
    session : object
        Comes back with the answer.
    expires_s : int
        How long the signed URLs hold.
    keep : bool
        Whether both objects stay in the store; the answer says where, as `kept`.
    progress : Progress, optional
        Told about the steps.

    Raises
    ------
    SettingsError
        If there is no such file, or `out` cannot be written.
    InvalidRequestError, RefusedByModelError
        If mapper or model do not take such a request; nothing was uploaded then.
    MapperError
        If the store or the job failed, or what came back is not what the model wrote.
    """
    n_bytes = _check_paths(file, out)
    request: dict[str, Any] = {"parameters": dict(parameters or {}), "session": session}
    job = {"file_id": file_id or file.name.encode(errors="replace").decode()}
    run = uuid.uuid4().hex
    source, target = (f"{run}-{part}-{_plain(path.name)}" for part, path in (("in", file), ("out", out)))
    job["output_url"] = store.sign("put_object", target, expires_s)
    _rehearse(ask, {**request, "file": {**job, "input_url": REHEARSAL_URL}})
    steps = progress or NoProgress()
    with _upload_undone(store, source), steps.step("upload", n_bytes) as advance:
        store.upload(file, source, advance)
    try:
        if store.find(source).n_bytes != n_bytes:
            raise MapperError(f"{file} changed while it was uploaded. Try again when it is complete.")
        job["input_url"] = store.sign("get_object", source, expires_s)
        job["output_url"] = store.sign("put_object", target, expires_s)
        with steps.step("scoring"), _answer_awaited(store.shown(target)):
            answer = ask({**request, "file": job})
        summary = answer["file"]
        if summary["status"] != "done":
            raise MapperError(f"{file} was not scored. {summary['error']}")
        _fetch(store, target, out, summary, steps)
    finally:
        if not keep:
            _remove(store, source, target)
    return {**answer, "kept": [store.shown(source), store.shown(target)]} if keep else answer


def _check_paths(file: Path, out: Path) -> int:
    """Find out what can be known before the work; the file's size."""
    if not file.is_file():
        raise SettingsError(f"{file} is {'no file' if file.exists() else 'not there'}.")
    if not os.access(file, os.R_OK):
        raise SettingsError(f"{file} cannot be read: permission denied.")
    n_bytes = file.stat().st_size
    if n_bytes == 0:
        raise SettingsError(f"{file} is empty: rows expected, or at least the names of the columns.")
    folder = out.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SettingsError(f"{out} cannot be written: {folder} is no folder to write to.")
    if out.exists() and (not out.is_file() or out.samefile(file)):  # a device would be replaced by a file
        what = "the input" if out.is_file() else "a folder" if out.is_dir() else "no file but a device"
        raise SettingsError(f"{out} cannot be written: it is {what}.")
    return n_bytes


def _plain(name: str) -> str:
    """A name that every store takes; its end says the format."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]


def _rehearse(ask: Ask, request: dict[str, Any]) -> None:
    """Ask for a job that cannot be done: a wrong model, parameter or store shows before a long upload."""
    try:
        complaint = str(ask(request)["file"].get("error"))
    except RefusedByModelError as error:
        raise RefusedByModelError(
            f"{error} If it is a model for rows, serve one that was trained with file_management=true."
        ) from error
    if complaint.startswith("output_url"):
        raise MapperError(f"The model server would not write to the store. {complaint}")


@contextmanager
def _upload_undone(store: Store, source: str) -> Iterator[None]:
    """Remove what an upload that fails may have left; that it cannot be is no news then."""
    try:
        yield
    except BaseException:
        with suppress(MapperError):
            store.remove(source)
        raise


@contextmanager
def _answer_awaited(target: str) -> Iterator[None]:
    """Say what may come of a job whose answer was not waited for."""
    try:
        yield
    except (InvalidRequestError, RefusedByModelError):
        raise
    except (MapperError, KeyboardInterrupt):
        logger.warning("The job may still be at work. What it writes from now on stays at %s.", target)
        raise


def _fetch(store: Store, target: str, out: Path, summary: Mapping[str, Any], steps: Progress) -> None:
    """Download the predictions, and let them appear when they are what the model says that it wrote."""
    n_bytes, etag = store.find(target)
    written = (summary.get("bytes_out"), (summary.get("etag") or "").strip('"'))
    if n_bytes != written[0] or (etag and written[1] and etag != written[1]):
        raise MapperError(
            f"{store.shown(target)} has {n_bytes} bytes and the ETag {etag}, the model wrote {written[0]} "
            f"bytes with the ETag {written[1]}. Does something else write there?"
        )
    unfinished = out.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with steps.step("download", n_bytes) as advance:
            digest = store.download(target, unfinished, advance)
        if digest != (summary.get("sha256") or digest):
            raise MapperError(
                f"{store.shown(target)} was damaged on its way: its SHA-256 is not the model's."
            )
        unfinished.replace(out)
    except OSError as error:
        raise MapperError(f"{out} cannot be written: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _remove(store: Store, *names: str) -> None:
    for name in names:
        try:
            store.remove(name)
        except MapperError as error:
            logger.warning("%s", error)
