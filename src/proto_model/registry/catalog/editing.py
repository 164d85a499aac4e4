"""Changes of what a user says of a version, until it is published."""

from __future__ import annotations

import ast
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mlflow import MlflowClient

from proto_model.errors import InputError, listed
from proto_model.registry.catalog.naming import living_version
from proto_model.registry.descriptions import own_description, redescribed
from proto_model.registry.details import (
    CONFIG,
    DETAIL_TAGS,
    HYPERPARAMETERS,
    LABELS,
    RECORDS,
    Details,
    changes,
    checked_labels,
    checked_object,
    checked_records,
    shown_record,
)
from proto_model.registry.events import write_event
from proto_model.registry.patience import patient
from proto_model.registry.promotion.moves import turn
from proto_model.registry.publishing.tags import check_not_published
from proto_model.registry.settings import TrainingSettings
from proto_model.registry.versions import drop_version_tag, visible

CLEARABLE = ("description", *DETAIL_TAGS)
MAX_DESCRIPTION = 5_000  # of MLflow's database

_NOT_HYPERPARAMETERS = {setting.name for setting in fields(TrainingSettings)} | {"variant"}


@dataclass(frozen=True)
class Edit:
    """What to change of a version; None and empty ones change nothing.

    `clear` names details to empty before the rest is done; `config` and `hyperparameters` replace the object,
    the names that begin with `set_` and `unset_` change single names of it.
    """

    description: str | None = None
    labels: Sequence[str] = ()
    drop_labels: Sequence[str] = ()
    config: Mapping[str, Any] | None = None
    set_config: Mapping[str, Any] = field(default_factory=dict)
    unset_config: Sequence[str] = ()
    hyperparameters: Mapping[str, Any] | None = None
    set_hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    unset_hyperparameters: Sequence[str] = ()
    records: Sequence[str] = ()
    drop_records: Sequence[str] = ()
    clear: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing."""
        return self == Edit()

    def of(self, before: Details, trained_with: Mapping[str, Any]) -> Details:
        """Details after the change; an InputError says what is wrong with it.

        `trained_with` are the hyperparameters of the run, which single names are changed of if nobody said
        anything of them yet.
        """
        for name in self.clear:
            empty: Any = getattr(Details(), name)
            before = replace(before, **{name: empty})
        labels = _without("label", before.labels, [label.strip() for label in self.drop_labels])
        records = _without("record", before.records, [shown_record(one.strip()) for one in self.drop_records])
        return Details(
            description=before.description
            if self.description is None
            else checked_description(self.description),
            labels=tuple(sorted({*labels, *checked_labels(self.labels)})),
            config=_object(CONFIG, before.config, self.config, self.set_config, self.unset_config),
            hyperparameters=self._hyperparameters(before, trained_with),
            records=tuple(dict.fromkeys([*records, *checked_records(self.records)])),
        )

    def _hyperparameters(self, before: Details, trained_with: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.hyperparameters is None and not self.set_hyperparameters and not self.unset_hyperparameters:
            return None if before.hyperparameters is None else dict(before.hyperparameters)
        old = trained_with if before.hyperparameters is None else before.hyperparameters
        return _object(
            HYPERPARAMETERS, old, self.hyperparameters, self.set_hyperparameters, self.unset_hyperparameters
        )


@dataclass(frozen=True)
class Edited:
    """A version after a change, and what differs: `{name: {"before": ..., "after": ...}}`."""

    model: str
    version: str
    details: Details
    changes: Mapping[str, Mapping[str, Any]]
    recovered: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return {"name": self.model, "version": int(self.version), "changes": dict(self.changes)}


def edit_version(client: MlflowClient, text: str, edit: Edit, *, dry_run: bool = False) -> Edited:
    """Change the details of the version that a text names; a dry run only says what would differ.

    Whoever edits at the same time waits, so that no change is lost. A RegistryError says that the version is
    not there or published, an InputError what is wrong with the change; nothing is written then.
    """
    client = patient(client)
    version = living_version(client, text)
    name, number = version.name, str(version.version)
    if edit.is_empty:
        raise InputError("Nothing to change was given. See: python -m proto_model versions edit --help")
    check_not_published(version)
    if dry_run:
        return _edited(client, name, number, edit, write=False)
    with turn(client, name, f"edit version {number}") as taken:
        edited = _edited(taken.client, name, number, edit, write=True)
        return edited if taken.recovery is None else replace(edited, recovered=taken.recovery.sentence)


def _edited(client: MlflowClient, name: str, number: str, edit: Edit, *, write: bool) -> Edited:
    version = living_version(client, f"{name}/{number}")
    check_not_published(version)
    whole = version.description or ""
    before = Details.of(own_description(whole), version.tags)
    after = edit.of(before, run_hyperparameters(client, version.run_id))
    tags = after.to_tags()
    different = changes(before, after)
    if write and different:
        # The event first: no change without a trace.
        write_event(client, name, number, "edited", "; ".join(change_words(different)))
        if "description" in different:
            client.update_model_version(name, number, redescribed(whole, after.description))
        for key in DETAIL_TAGS:
            value = tags[key]
            if key in different and value is not None:
                client.set_model_version_tag(name, number, key, value)
            elif key in different and key in version.tags:
                drop_version_tag(client, name, number, key)
    return Edited(name, number, after, different)


def run_hyperparameters(client: MlflowClient, run_id: str | None) -> dict[str, Any]:
    """Hyperparameters that a run was trained with; none if there is no such run."""
    run = visible(client.get_run, run_id) if run_id else None
    params = {} if run is None else run.data.params
    return {name: _value(text) for name, text in sorted(params.items()) if name not in _NOT_HYPERPARAMETERS}


def change_words(different: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What differs, one phrase for each detail or name in it.

    Examples
    --------
    >>> change_words({"labels": {"before": ["q2"], "after": ["eu", "q3"]}})
    ['labels +eu +q3 -q2']
    >>> change_words({"config": {"before": {"a": 1}, "after": {"a": 2, "b": "x"}}})
    ['config.a 1 → 2', 'config.b "x" added']
    """
    words = []
    for name, change in different.items():
        before, after = change["before"], change["after"]
        if name in (LABELS, RECORDS):
            added = [f"+{item}" for item in after if item not in before]
            words.append(" ".join([name, *added, *(f"-{item}" for item in before if item not in after)]))
        elif name in (CONFIG, HYPERPARAMETERS):
            words += _object_words(name, before or {}, after or {})
            if before is None or after is None:
                words.append(f"{name}: {'those of the run' if after is None else 'set by hand'}")
        else:
            words.append("description" if after else "description emptied")
    return words


def _object_words(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    words = []
    for key in dict.fromkeys([*before, *after]):
        if key not in after:
            words.append(f"{name}.{key} removed")
        elif key not in before:
            words.append(f"{name}.{key} {_shown(after[key])} added")
        elif before[key] != after[key]:
            words.append(f"{name}.{key} {_shown(before[key])} → {_shown(after[key])}")
    return words


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def checked_description(text: str) -> str:
    """A description that MLflow keeps whole; an InputError says why it does not."""
    if not isinstance(text, str):
        raise InputError(f"description: {text!r:.80} given, a text expected.")
    if len(text) > MAX_DESCRIPTION:
        raise InputError(
            f"The description has {len(text):,} characters, and MLflow keeps {MAX_DESCRIPTION:,}. Shorten it."
        )
    bad = sorted({one for one in text if unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\r\t"})
    if bad:
        raise InputError(f"The description holds control characters: {listed(bad)}. Leave them out.")
    return own_description(text)


def _object(
    name: str,
    before: Mapping[str, Any],
    whole: Mapping[str, Any] | None,
    added: Mapping[str, Any],
    removed: Sequence[str],
) -> dict[str, Any]:
    if whole is None and not added and not removed:
        return dict(before)
    base = dict(before) if whole is None else checked_object(name, whole)
    both = sorted({*added} & {*removed})
    if both:
        raise InputError(f"{name}: {listed(both)} to be set and removed. Give one of the two.")
    missing = [key for key in removed if key not in base]
    if missing:
        raise InputError(f"{name} has no {listed(missing)}. It has {listed(list(base)) or 'nothing'}.")
    return checked_object(name, {key: base[key] for key in base if key not in removed} | dict(added))


def _without(kind: str, items: Sequence[str], dropped: Sequence[str]) -> list[str]:
    missing = [item for item in dropped if item not in items]
    if missing:
        there = f"It has {listed(list(items))}." if items else f"It has no {kind}."
        raise InputError(f"The version has no {kind} {listed(missing)}. {there}")
    return [item for item in items if item not in dropped]


def _value(text: str) -> Any:
    """Value that MLflow keeps as a text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if value is None or isinstance(value, bool | int | float | str) else text
