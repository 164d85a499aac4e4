"""Who changed a version, and when: each change is a tag of its own, so that two people at once lose nothing.

The key is `event.<UTC time>.<kind>`, with a few random digits after the time. The value is a JSON object of
`by`, `what`, and the `run_id` of a run that says more. Nobody reads one to write it again. `by` is what the
client said of itself; MLflow keeps no record of it.
"""

from __future__ import annotations

import getpass
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.utils.credentials import read_mlflow_creds

from proto_model.registry.tag_values import of_tag_value, to_tag_value

PREFIX = "event."
_MAX_WHAT = 2_000
_TIME = "%Y%m%dT%H%M%S.%fZ"
_KEY = re.compile(r"event\.(?P<time>\d{8}T\d{6}\.\d{6}Z)(?:-[0-9a-f]+)?\.(?P<kind>[\w-]+)")


@dataclass(frozen=True)
class Event:
    """A change: when, of which kind, by whom, and what in words."""

    at: datetime
    kind: str
    by: str
    what: str
    run_id: str | None = None


def current_user() -> str:
    """Name that MLflow's server knows this user by, else the login name."""
    name = read_mlflow_creds().username
    if name:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as containers have
        return "unknown"


def event_tag(
    kind: str, what: str, *, at: datetime | None = None, run_id: str | None = None, by: str | None = None
) -> tuple[str, str]:
    """Key and value of the tag of an event, by default by this user, now."""
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    what = what if len(what) <= _MAX_WHAT else f"{what[: _MAX_WHAT - 4]} ..."
    value = {"by": (current_user() if by is None else by)[:200], "what": what} | (
        {} if run_id is None else {"run_id": run_id}
    )
    key = f"{PREFIX}{moment.strftime(_TIME)}-{secrets.token_hex(2)}.{kind}"
    return key, to_tag_value(value)


def write_event(client: MlflowClient, name: str, version: str, kind: str, what: str) -> None:
    """Note at a version what was done to it."""
    client.set_model_version_tag(name, version, *event_tag(kind, what))


def is_event(key: str) -> bool:
    """Whether the key of a tag is that of an event."""
    return _KEY.fullmatch(key) is not None


def events_of(tags: Mapping[str, str]) -> list[Event]:
    """Events among the tags of a version, oldest first; what is none is left out."""
    found = []
    for key, value in tags.items():
        parts = _KEY.fullmatch(key)
        if parts is None:
            continue
        try:
            at = datetime.strptime(parts["time"], _TIME).replace(tzinfo=UTC)
        except ValueError:
            continue
        content = of_tag_value(value, dict)
        if content is not None:
            by, what, run_id = (str(content.get(name) or "") for name in ("by", "what", "run_id"))
            found.append(Event(at, parts["kind"], by, what, run_id or None))
    return sorted(found, key=lambda event: event.at)
