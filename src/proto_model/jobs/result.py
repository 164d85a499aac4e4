"""The result of a job: its document with status, messages, times and outputs, and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proto_model.jobs.job import LOG_FILE, RESULT_FILE, Job
from proto_model.jobs.options import Ran
from proto_model.jobs.transport import copied_tree
from proto_model.sources import OUTPUT_DIR

COMPLETE, ERROR, CANCELLED = "COMPLETE", "ERROR", "CANCELLED"

_SECRET_KEY = re.compile(
    r"secret|password|passwd|token|credential|access.?key|account.?key|sas", re.IGNORECASE
)
_HIDDEN = "[hidden]"
_CONTENT = ("sourceCode", "fileContent")
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*")


def without_queries(text: str) -> str:
    """A text whose URLs have lost their queries, which may be signatures.

    Examples
    --------
    >>> without_queries("GET https://b.example/k.csv?X-Amz-Signature=5e failed")
    'GET https://b.example/k.csv failed'
    """
    return _QUERY.sub(r"\1", text)


@dataclass(frozen=True)
class Result:
    """What a job came to; `folder` is where its files are, as a path or a URL."""

    job: Job
    status: str
    messages: tuple[str, ...]
    ran: Ran
    folder: str
    kept: Path
    engine: str
    started_at: datetime
    ended_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def to_dict(self) -> dict[str, Any]:
        """The document of the result."""
        document = _cleaned(dict(self.job.document))
        return {
            **document,
            "jobType": self.job.type,
            "jobStatus": self.status,
            "jobMessages": [without_queries(message) for message in self.messages],
            "startDate": _time(self.started_at),
            "completeDate": _time(self.ended_at),
            "engine": self.engine,
            "summary": dict(self.ran.summary),
            "outputData": self._outputs(document.get("outputData") or []),
            "log": LOG_FILE,
        }

    def write(self) -> None:
        """Write result and log into the folder of the results."""
        (self.kept / LOG_FILE).write_text(without_queries(self.ran.log), encoding="utf-8", errors="replace")
        text = json.dumps(self.to_dict(), indent=2)
        part = self.kept / f".{RESULT_FILE}.part"
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(self.kept / RESULT_FILE)

    def _outputs(self, given: list[Any]) -> list[dict[str, Any]]:
        """Outputs as they are now, and what was written to outputDir as further assets."""
        outputs = []
        for asset, document in zip(self.job.outputs, given, strict=True):
            size = self.ran.written.get(asset.at)
            default = self.ran.default_outputs.get(asset.at)
            if default is not None:
                url = self._url(default.name)
            else:
                url = (
                    str(asset.place.path)
                    if asset.place and asset.place.is_relative
                    else document.get("fileUrl")
                )
            outputs.append(
                {
                    **document,
                    "assetType": "EXTERNAL_FILE",
                    "filename": asset.filename,
                    **({} if size is None else {"fileSize": size}),
                    **({} if url is None else {"fileUrl": url}),
                }
            )
        known = {asset.at for asset in self.job.outputs}
        outputs += [
            _external(path.name, self._url(path.name), path)
            for at, path in self.ran.default_outputs.items()
            if at not in known
        ]
        copied_tree(
            self.kept / OUTPUT_DIR,
            lambda path, name: outputs.append(_external(name, self._url(f"{OUTPUT_DIR}/{name}"), path)),
        )
        return outputs

    def _url(self, name: str) -> str:
        return f"{self.folder.rstrip('/')}/{name}"


def _external(name: str, url: str, path: Path) -> dict[str, Any]:
    return {
        "name": name,
        "assetType": "EXTERNAL_FILE",
        "filename": path.name,
        "fileUrl": url,
        "fileSize": path.stat().st_size,
    }


def _cleaned(value: Any) -> Any:
    """A document whose URLs have no queries, and whose settings hold no secrets."""
    if isinstance(value, Mapping):
        return {
            key: one
            if key in _CONTENT
            else _HIDDEN
            if one and isinstance(one, str) and _SECRET_KEY.search(key)
            else _cleaned(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    return without_queries(value) if isinstance(value, str) and "?" in value and "://" in value else value


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
