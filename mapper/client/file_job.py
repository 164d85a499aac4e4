"""A file's round trip through a store: uploaded, scored, downloaded, and removed from the store."""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapper.client.progress import Progress
from mapper.client.store import Store
from mapper.errors import InvalidRequestError, MapperError, RefusedByModelError, SettingsError

logger = logging.getLogger(__name__)

Ask = Callable[[dict[str, Any]], dict[str, Any]]

# It has expired: a model for files rejects the job without fetching it.
REHEARSAL_URL = "https://store.invalid/k?X-Amz-Signature=0&X-Amz-Date=20000101T000000Z&X-Amz-Expires=1"


@dataclass(frozen=True)
class FileJob:
    """What to do: score `file` and write `out`.

    `parameters` are those of the request, `session` comes back with the answer, and `file_id` is the job's
    name in answers and logs, by default the file's. The signed URLs are valid for `expires_s`. With `keep`,
    both objects stay in the store; the answer says where, as `kept`.
    """

    file: Path
    out: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    file_id: str | None = None
    session: Any = None
    expires_s: int = 4 * 3600
    keep: bool = False


def predict_file(job: FileJob, store: Store, ask: Ask, progress: Progress | None = None) -> dict[str, Any]:
    """The mapper's answer for a file, once its predictions are in `job.out`.

    Whatever happens, `job.out` is complete or as it was, and both objects are removed from the store. Raises
    SettingsError for unusable paths, InvalidRequestError or RefusedByModelError before anything is uploaded,
    and MapperError if store or job failed or what came back is not what the model wrote.
    """
    n_bytes = check_paths(job.file, job.out)
    request: dict[str, Any] = {"parameters": dict(job.parameters), "session": job.session}
    part = {"file_id": job.file_id or job.file.name.encode(errors="replace").decode()}
    run = uuid.uuid4().hex
    source, target = f"{run}-in-{_plain(job.file.name)}", f"{run}-out-{_plain(job.out.name)}"
    part["output_url"] = store.sign("put_object", target, job.expires_s)
    _rehearse(ask, {**request, "file": {**part, "input_url": REHEARSAL_URL}})
    steps = progress or Progress()
    try:
        with steps.step("upload", n_bytes) as advance:
            store.upload(job.file, source, advance)
    except BaseException:
        with suppress(MapperError):  # an upload that fails may leave a part, or nothing
            store.remove(source)
        raise
    try:
        if job.file.stat().st_size != n_bytes:
            raise MapperError(f"{job.file} changed during the upload. Try again when it is complete.")
        part["input_url"] = store.sign("get_object", source, job.expires_s)
        part["output_url"] = store.sign("put_object", target, job.expires_s)
        with steps.step("scoring"), _answer_awaited(store.shown(target)):
            answer = ask({**request, "file": part})
        summary = answer["file"]
        if summary["status"] != "done":
            raise MapperError(f"{job.file} was not scored. {summary['error']}")
        _fetch(store, target, job.out, summary, steps)
    finally:
        if not job.keep:
            _remove(store, source, target)
    return {**answer, "kept": [store.shown(source), store.shown(target)]} if job.keep else answer


def check_paths(file: Path, out: Path) -> int:
    """The size of the file, if both paths can be used."""
    if not file.is_file():
        raise SettingsError(f"{file} {'is not a file' if file.exists() else 'does not exist'}.")
    if not os.access(file, os.R_OK):
        raise SettingsError(f"Cannot read {file}: permission denied.")
    n_bytes = file.stat().st_size
    if n_bytes == 0:
        raise SettingsError(f"{file} is empty; rows expected, or at least a header.")
    folder = out.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SettingsError(f"Cannot write {out}: {folder} is not a writable folder.")
    if out.exists() and (not out.is_file() or out.samefile(file)):  # a device would be replaced by a file
        what = "the input" if out.is_file() else "a folder" if out.is_dir() else "a device"
        raise SettingsError(f"Cannot write {out}: it is {what}.")
    return n_bytes


def _plain(name: str) -> str:
    """A name that every store takes; its end says the format."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]


def _rehearse(ask: Ask, request: dict[str, Any]) -> None:
    """Ask for a job that cannot be done, to find a wrong model, parameter or store before a long upload."""
    try:
        complaint = str(ask(request)["file"].get("error"))
    except RefusedByModelError as error:
        raise RefusedByModelError(
            f"{error} If this model takes rows, serve one that was trained with file_management=true."
        ) from error
    if complaint.startswith("output_url"):
        raise MapperError(f"The model server cannot write to the store. {complaint}")


@contextmanager
def _answer_awaited(target: str) -> Iterator[None]:
    """Warn about a job whose answer was lost."""
    try:
        yield
    except (InvalidRequestError, RefusedByModelError):
        raise
    except (MapperError, KeyboardInterrupt):
        logger.warning("The job may still be running. Anything it writes from now on stays at %s.", target)
        raise


def _fetch(store: Store, target: str, out: Path, summary: Mapping[str, Any], steps: Progress) -> None:
    """Download the predictions, and let them appear when they are what the model says that it wrote."""
    unfinished = out.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with steps.step("download", summary["bytes_out"]) as advance:
            digest = store.download(target, unfinished, advance)
        if digest != summary["sha256"]:
            raise MapperError(
                f"{store.shown(target)} is not what the model wrote: the SHA-256 differs. "
                "Does something else write there?"
            )
        unfinished.replace(out)
    except OSError as error:
        raise MapperError(f"Cannot write {out}: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _remove(store: Store, *names: str) -> None:
    for name in names:
        try:
            store.remove(name)
        except MapperError as error:
            logger.warning("%s", error)
