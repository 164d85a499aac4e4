"""One request to a served model, straight or through the mapper, as a smoke test sends it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proto_model.errors import InputError, ProtoModelError

__all__ = [
    "InvocationError",
    "answered_rows",
    "endpoint",
    "invoke",
    "read_records",
    "request_body",
    "without_secrets",
]


class InvocationError(ProtoModelError):
    """The server could not be reached, or did not answer with predictions."""


def read_records(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON or CSV file.

    Parameters
    ----------
    path : Path
        JSON: one record, a list of records, or `{"columns": [...], "data": [[...], ...]}`. Everything else is
        read as CSV with a header.

    Raises
    ------
    InputError
        If there are no rows in it.
    """
    try:
        if path.suffix.lower() == ".json":
            records = _records(json.loads(path.read_text(encoding="utf-8")))
        else:
            import pandas as pd

            frame = pd.read_csv(path, skipinitialspace=True)
            records = json.loads(frame.to_json(orient="records", double_precision=15))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not records:
        raise InputError(f"{path} holds no rows. Give one record, or a list of them.")
    return records


def _records(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, dict) and {"columns", "data"} <= content.keys():
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    if isinstance(content, dict):
        return [content]
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        return content
    raise ValueError("one record, a list of records, or columns and data expected")


def request_body(
    records: list[dict[str, Any]], *, through_mapper: bool, explain: bool
) -> tuple[str, dict[str, Any]]:
    """Path below the server's URL and JSON body of the request for some rows."""
    if through_mapper:
        return ("/v1/explain" if explain else "/v1/predict"), {"data": records}
    columns = list(dict.fromkeys(name for record in records for name in record))
    body: dict[str, Any] = {
        "dataframe_split": {
            "columns": columns,
            "data": [[record.get(name) for name in columns] for record in records],
        }
    }
    if explain:
        body["params"] = {"explain": True}
    return "/invocations", body


def invoke(url: str, body: dict[str, Any], *, wait_s: float, timeout_s: float = 60.0) -> Any:
    """Parsed answer to a POST, sent again until a server that is starting has come up.

    Parameters
    ----------
    url : str
        With the path.
    body : dict
        Sent as JSON.
    wait_s : float
        How long to go on while nothing listens there, or the answer is 503.
    timeout_s : float
        Longest wait for an answer.

    Raises
    ------
    InvocationError
        If nothing answers in time, or the answer is an error or not JSON; holds the server's own words.
    """
    if not url.startswith(("http://", "https://")):
        raise InvocationError("The URL is mistyped: http://host:port expected.")
    shown = without_secrets(url)
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    end = time.monotonic() + wait_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code != 503 or time.monotonic() >= end:
                raise InvocationError(f"{shown} answered {error.code}: {_said(text)}") from error
        except (OSError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", error)
            if time.monotonic() >= end:
                raise InvocationError(
                    f"No answer from {shown} within {wait_s:g} s: {reason}. Is the server running there?"
                ) from error
        except http.client.InvalidURL as error:
            raise InvocationError("The URL is mistyped: http://host:port expected.") from error
        except http.client.HTTPException as error:
            raise InvocationError(
                f"{shown} does not answer as an HTTP server does. Is its port right?"
            ) from error
        except ValueError as error:
            raise InvocationError(f"{shown} answered something that is not JSON: {error}") from error
        time.sleep(0.2)


def endpoint(server: str, path: str) -> str:
    """URL of a path below a server's; what stands behind a `?` there stays at the end.

    Raises
    ------
    InvocationError
        If the server's is no URL.
    """
    try:
        parts = urlsplit(server)
    except ValueError as error:
        raise InvocationError("The URL is mistyped: http://host:port expected.") from error
    return parts._replace(path=parts.path.rstrip("/") + path).geturl()


def without_secrets(url: str) -> str:
    """The URL as it may be shown: without name, password and query.

    Examples
    --------
    >>> without_secrets("https://me:secret@models.example:8443/invocations?signature=abc")
    'https://models.example:8443/invocations'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def answered_rows(answer: Any) -> list[dict[str, Any]]:
    """Predictions in an answer of the model server or the mapper, one dictionary per row.

    Raises
    ------
    InvocationError
        If there are none.
    """
    rows = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        raise InvocationError(f"No predictions in the answer: {json.dumps(answer)[:500]}")
    return rows


def _said(text: str) -> str:
    """What an error body says: MLflow's `message`, MLServer's `error`, or a problem with its faults."""
    try:
        content = json.loads(text)
    except ValueError:
        return text[:2000]
    if not isinstance(content, dict):
        return text[:2000]
    said = content.get("message") or content.get("error") or content.get("detail") or content.get("title")
    faults = content.get("errors")
    return "\n".join(
        [str(said or text)[:4000], *(json.dumps(f) for f in (faults if isinstance(faults, list) else []))]
    )
