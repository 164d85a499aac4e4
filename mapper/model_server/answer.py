"""The HTTP answer of a model server, any that speaks MLflow's scoring protocol: its JSON, or its error."""

from __future__ import annotations

import re
from typing import Any

import orjson

from mapper import errors

MAX_MESSAGE_CHARACTERS = 2000
MAX_RETRY_AFTER_S = 3600


def read_answer(status: int, retry_after: str | None, body: bytes) -> dict[str, Any]:
    """The JSON object that a model server answered with.

    Raises RefusedByModelError if it refused the data (400 or 422), ModelServerDownError or
    ModelServerTimeoutError if it said that it is unavailable (429, 503) or timed out (504), and
    ModelServerAnswerError for anything else that is not a JSON object.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if status == 200:
        if not isinstance(content, dict):
            raise errors.ModelServerAnswerError(
                "The model server's answer is not a JSON object. Is its URL right?"
            )
        return content
    message = message_of(content)
    said = f": {message}" if message else "."
    if status in (400, 422) and message and not (isinstance(content, dict) and "stack_trace" in content):
        raise errors.RefusedByModelError(f"The model refused the request: {message}")
    for_log = f"The model server answered with status {status}."
    if status in (401, 403):
        text = f"The model server asks for another login ({status}){said}"
        raise errors.ModelServerAnswerError(text).logged_as(f"{for_log} Set --model-token-file.")
    if status in (429, 503):
        seconds = int(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 1
        text = f"The model server is unavailable ({status}){said}"
        raise errors.ModelServerDownError(text, min(max(seconds, 1), MAX_RETRY_AFTER_S)).logged_as(for_log)
    if status == 404:
        text = f"The model server answered with status 404{said}"
        own = isinstance(content, dict) and "title" in content  # a problem, as mappers answer
        hint = " This is a mapper service, not a model server." if own else " Is its URL right?"
        raise errors.ModelServerAnswerError(text + hint).logged_as(for_log)
    if status == 504:
        raise errors.ModelServerTimeoutError(f"The model server timed out{said}").logged_as(for_log)
    raise errors.ModelServerAnswerError(f"The model server answered with status {status}{said}").logged_as(
        for_log
    )


def message_of(content: object) -> str:
    """What an error answer says: MLflow's `message`, or the Open Inference Protocol's `error`."""
    if not isinstance(content, dict):
        return ""
    message = content.get("message") or content.get("error") or content.get("detail")
    return clean_message(message) if isinstance(message, str) else ""


def clean_message(message: str) -> str:
    r"""An error message without the data that MLflow's server repeats in it, and without queries of URLs.

    Examples
    --------
    >>> clean_message("Failed to predict data '   age\n0  1'. \nError: Row 0, age: too low.")
    'Row 0, age: too low.'
    >>> clean_message("GET https://store/a.csv?signature=abc failed")
    'GET https://store/a.csv?... failed'
    """
    if message.startswith("Failed to predict data "):
        message = message.rpartition("\nError: ")[2] if "\nError: " in message else "no reason given"
    message = re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1?...", message).strip()
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else message[:MAX_MESSAGE_CHARACTERS] + "…"
