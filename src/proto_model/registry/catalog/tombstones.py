"""What is left of a version that was deleted: a tag of its registered model, `deleted.<number>`.

It is written before the version goes. So it says nothing as long as there is a version of that number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from proto_model.registry.tag_values import MAX_TAG_CHARACTERS, of_tag_value, to_tag_value

PREFIX = "deleted."

_MAX_REASON, _MAX_DESCRIPTION, _MAX_EVENT = 1000, 1500, 120
_N_EVENTS = 20


@dataclass(frozen=True)
class Tombstone:
    """Who deleted a version, when and why, and what it was; `events` are `[time, kind, by, what]`."""

    version: str
    at: str
    by: str
    reason: str = ""
    run_id: str | None = None
    model_id: str | None = None
    digest: str | None = None
    variant: str | None = None
    description: str = ""
    labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    created: str | None = None
    published_at: str | None = None
    explainers: tuple[str, ...] = ()
    events: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def key(self) -> str:
        """Key of its tag."""
        return f"{PREFIX}{self.version}"

    @property
    def minute(self) -> str:
        """When it was deleted, in UTC, for people."""
        return self.at[:16].replace("T", " ")

    @property
    def day(self) -> str:
        """The day on which it was deleted."""
        return self.at[:10]

    def to_tag(self) -> str:
        """Value of its tag; of what does not fit, the oldest events are left out, and long texts are cut."""
        stone = replace(
            self,
            reason=_cut(self.reason, _MAX_REASON),
            description=_cut(self.description, _MAX_DESCRIPTION),
            events=tuple((*event[:3], _cut(event[3], _MAX_EVENT)) for event in self.events),
        )
        for n_events in range(min(_N_EVENTS, len(self.events)), -1, -1):
            kept = stone.events[len(stone.events) - n_events :]
            text = to_tag_value(_filled(replace(stone, events=kept)))
            if len(text) <= MAX_TAG_CHARACTERS:
                return text
        return to_tag_value(_filled(replace(stone, events=(), labels=(), description="")))

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return asdict(self)

    @classmethod
    def from_tag(cls, version: str, text: str) -> Tombstone:
        """Tombstone that a tag holds; of one that is damaged, the number is left."""
        try:
            content = of_tag_value(text, dict)
            texts = ("at", "by", "reason", "run_id", "model_id", "digest", "variant", "description")
            known = {name: _text(content.get(name)) for name in (*texts, "created", "published_at")}
            lists = {
                name: tuple(map(str, content.get(name) or ())) for name in ("labels", "aliases", "explainers")
            }
            events = tuple((*map(str, event),) for event in content.get("events") or () if len(event) == 4)
        except (TypeError, AttributeError):
            return cls(version, at="", by="")
        plain = {name: known[name] or "" for name in ("at", "by", "reason", "description")}
        return cls(version, **{**known, **plain, **lists, "events": events})  # type: ignore[arg-type]


def tombstones_of(tags: Mapping[str, str], living: Collection[str]) -> dict[str, Tombstone]:
    """Tombstones among the tags of a registered model, by number; `living` versions have none."""
    found = {}
    for key, value in tags.items():
        number = key.removeprefix(PREFIX)
        if key.startswith(PREFIX) and number.isdecimal() and number not in living:
            found[number] = Tombstone.from_tag(number, value)
    return found


def _filled(stone: Tombstone) -> dict[str, Any]:
    return {name: value for name, value in asdict(stone).items() if value and name != "version"}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _text(value: object) -> str | None:
    return None if value is None else str(value)
