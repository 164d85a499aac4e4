"""Versions as tables for a terminal. Names come from the registry, so nothing in them is markup."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from proto_model.registry.catalog.history import Entry
from proto_model.registry.catalog.listing import SHOWN_METRICS, Line, other_tags
from proto_model.registry.catalog.sheet import Sheet, metric_rows
from proto_model.registry.catalog.tombstones import Tombstone
from proto_model.registry.format_records import FormatRecord, formats_of
from proto_model.registry.publishing.tags import PUBLISHED_BY
from proto_model.registry.tracking import printable
from proto_model.training.evaluation.metric_texts import with_interval


def plain(text: object) -> Text:
    """Text of the registry: no markup, and no character that steers a terminal."""
    return Text(printable(str(text)))


def lines_table(lines: Sequence[Line], *, with_model: bool = False, sort: str = "") -> Table:
    """A row per version; `sort` is a metric that has a column, too."""
    metrics = [*SHOWN_METRICS, *([sort] if sort and sort not in SHOWN_METRICS else [])]
    headings = ["model"] if with_model else []
    headings += ["version", "aliases", "variant", *(name.replace("_", " ") for name in metrics)]
    table = _table([*headings, "created", "published", "deployed", "labels"])
    for line in lines:
        table.add_row(
            *([plain(line.model)] if with_model else []),
            plain(line.version),
            plain(", ".join(line.aliases)),
            plain(line.variant),
            *(plain(_metric(line.metrics, name)) for name in metrics),
            plain(_day(line.created)),
            plain(line.published[:10]),
            plain(", ".join(line.deployed)),
            plain(", ".join(line.details.labels)),
        )
    return table


def tombstones_table(stones: Sequence[Tombstone]) -> Table:
    """A row per deleted version."""
    table = _table(["version", "deleted", "by", "reason", "variant", "description"])
    for stone in stones:
        cells = (
            stone.version,
            stone.minute,
            stone.by,
            stone.reason,
            stone.variant or "",
            stone.description.partition("\n")[0],
        )
        table.add_row(*map(plain, cells))
    return table


def sheet_table(sheet: Sheet) -> Table:
    """Two columns: what, and what it is."""
    line, table = sheet.line, _facts(f"{sheet.line.model} {sheet.line.version}")
    by = line.tags.get(PUBLISHED_BY)
    deployed = "\n".join(f"{environment}: {image}" for environment, image in line.deployed.items())
    rows: list[tuple[str, object]] = [
        ("uri", sheet.uri),
        ("aliases", ", ".join(line.aliases)),
        ("variant", line.variant),
        ("labels", ", ".join(line.details.labels)),
        ("created", _minute(line.created)),
        ("trained by", sheet.trained_by or ""),
        ("published", f"{line.published}{f' by {by}' if by else ''}"),
        ("deployed", deployed),
        ("description", line.details.description),
        ("metrics on test rows", _metrics(line.metrics)),
        ("config", _object(line.details.config)),
        (f"hyperparameters{' of the run' if sheet.from_run else ''}", _object(sheet.hyperparameters)),
        ("records", "\n".join(line.details.records)),
        ("formats", "\n".join(f"{one.name}: {one.verified}" for one in formats_of(line.tags))),
        ("cautions", "\n".join(f"{one.kind}: {one.text}" for one in sheet.cautions)),
        ("run", line.run_id or ""),
        ("source", sheet.source),
        ("status", "" if sheet.status == "READY" else sheet.status),
        ("other tags", _object(other_tags(line.tags))),
    ]
    return _filled(table, rows)


def tombstone_table(model: str, stone: Tombstone) -> Table:
    """What is known of a deleted version."""
    rows: list[tuple[str, object]] = [
        ("deleted", f"{stone.minute} by {stone.by}" if stone.by else stone.minute or "yes"),
        ("reason", stone.reason),
        ("variant", stone.variant or ""),
        ("labels", ", ".join(stone.labels)),
        ("aliases", ", ".join(stone.aliases)),
        ("created", (stone.created or "")[:16].replace("T", " ")),
        ("published", stone.published_at or ""),
        ("description", stone.description),
        ("run", stone.run_id or ""),
        ("logged model", stone.model_id or ""),
        ("model digest", stone.digest or ""),
        ("explainers", ", ".join(stone.explainers)),
    ]
    return _filled(_facts(f"{model} {stone.version} (deleted)"), rows)


def history_table(entries: Sequence[Entry]) -> Table:
    """A row per entry, the newest last."""
    table = _table(["when (UTC)", "version", "event", "by", "what"])
    for entry in entries:
        when = "unknown" if entry.at is None else _minute(entry.at)
        cells = (when, entry.version or "", entry.kind.replace("_", " "), entry.by or "", entry.what)
        table.add_row(*map(plain, cells))
    return table


def formats_table(records: Sequence[FormatRecord]) -> Table:
    """A row per format of a version, with its verdict."""
    headings = ["format", "file", "bytes", "sha256", "rows", "labels that differ", "largest difference"]
    table = _table([*headings, "read by", "added (UTC)", "by", "where"])
    for one in records:
        verdict = one.verdict
        cells: tuple[object, ...] = ("", "not verified", "", "")
        if verdict is not None:
            differs = f"{verdict.largest_difference:.1g}"
            cells = (f"{verdict.rows:,}", verdict.labels_that_differ, differs, verdict.by)
        added = one.made_at[:16].replace("T", " ")
        row = (one.name, one.file, f"{one.bytes:,}", one.sha256[:12], *cells, added, one.made_by, one.uri)
        table.add_row(*map(plain, row))
    return table


def changes_table(changes: Mapping[str, Mapping[str, Any]]) -> Table:
    """What differs, before and after."""
    table = _table(["detail", "before", "after"])
    for name, change in changes.items():
        table.add_row(plain(name), *(plain(_value(change[side])) for side in ("before", "after")))
    return table


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _facts(title: str) -> Table:
    table = Table(title=plain(title), title_justify="left", show_header=False, box=box.SIMPLE, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _filled(table: Table, rows: Sequence[tuple[str, object]]) -> Table:
    for name, value in rows:
        if value != "":
            table.add_row(name, plain(value))
    return table


def _metric(metrics: Mapping[str, float], name: str) -> str:
    return with_interval(metrics, name) if not math.isnan(metrics.get(name, math.nan)) else ""


def _metrics(metrics: Mapping[str, float]) -> str:
    lines = []
    for name, value, low, high in metric_rows(metrics):
        interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        lines.append(f"{name} {value:.4f}{interval}")
    return "\n".join(lines)


def _object(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    if value in (None, "", [], {}):
        return "none" if value is None else ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
