"""The `file` part of a request: presigned URLs, whose form is checked and whose query is never told."""

from __future__ import annotations

from typing import Any, TypedDict
from urllib.parse import urlsplit

from mapper.errors import Findings, short_name, shown

PARTS = ("input_url", "output_url", "file_id")
MAX_URL_CHARACTERS = 8192
MAX_FILE_ID_CHARACTERS = 256


class FileRequest(TypedDict, total=False):
    """The `file` part of a request: presigned URLs to read from and to write to."""

    input_url: str
    output_url: str
    file_id: str


def read_file_part(file: object, faults: Findings) -> tuple[dict[str, list[Any]], str | None]:
    """The model server's inputs for a file job, and the job's id."""
    if not isinstance(file, dict):
        faults.add("bad_request", f"{shown(file)} given, an object expected", field="file")
        return {}, None
    for name in file.keys() - set(PARTS):
        message = f"no such part; known: {', '.join(PARTS)}"
        faults.add("unknown_part", message, field=f"file.{short_name(name)}")
    for name in ("input_url", "output_url"):
        complaint = url_complaint(file.get(name))
        if complaint is not None:
            faults.add("bad_url", complaint, field=f"file.{name}")
    file_id = file.get("file_id")
    if file_id is not None and not (isinstance(file_id, str) and 0 < len(file_id) <= MAX_FILE_ID_CHARACTERS):
        message = f"text of 1 to {MAX_FILE_ID_CHARACTERS} characters expected"
        faults.add("bad_request", message, field="file.file_id")
    inputs = {name: [value] for name, value in file.items() if value is not None}
    return inputs, file_id if isinstance(file_id, str) else None


def url_complaint(url: object) -> str | None:
    """What is wrong with the form of a presigned URL; never the URL itself, whose query is a secret."""
    if url is None:
        return "a presigned http or https URL is missing"
    if not isinstance(url, str):
        return f"a {type(url).__name__} given, a presigned http or https URL expected"
    if len(url) > MAX_URL_CHARACTERS:
        return f"{len(url)} characters given; the limit is {MAX_URL_CHARACTERS}"
    if not url.isprintable() or " " in url:
        return "it contains spaces or control characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a URL; check its host and port"
    if parts.scheme not in ("http", "https") or not host:
        return "not an absolute http or https URL"
    if parts.username is not None or parts.password is not None:
        return "it contains a user name or password; use a presigned URL instead"
    return "it has a fragment (#...)" if parts.fragment else None
