"""The section of a model card that says what the columns mean."""

from __future__ import annotations

from proto_model.dictionary import NO_ENTRY, Entry
from proto_model.table import TrainingData
from proto_model.training.dictionary import coverage_text
from proto_model.training.evaluation.markdown import Markdown, literal, markdown_table

MAX_COLUMNS = 100
MAX_MEANINGS = 20


def dictionary_section(data: TrainingData) -> list[str]:
    """Paragraphs of Markdown, in which no text of the dictionary is more than text; none without one."""
    schema = data.schema
    columns = [(schema.target, "the target"), *((name, "") for name in schema.feature_names)]
    entries = [(name, use, schema.entry(name)) for name, use in columns]
    entries += [(column.name, "not used", column.entry) for column in data.dropped]
    entries = [one for one in entries if one[2] != NO_ENTRY]
    if not entries:
        return []
    parts = [
        "## Data dictionary",
        f"{literal(coverage_text(schema))} What it says is not checked; its author answers for it.",
        markdown_table(["column", "meaning", "unit", "values", "author"], map(_row, entries[:MAX_COLUMNS])),
    ]
    if len(entries) > MAX_COLUMNS:
        parts.append(f"… and {len(entries) - MAX_COLUMNS} more; `schema.json` has them all.")
    protected = [literal(name) for name, _, entry in entries if entry.protected]
    seen = [literal(name) for name in schema.feature_names if schema.entry(name).protected]
    if protected:
        parts.append(_protected(protected, seen))
    return parts


def _protected(protected: list[str], seen: list[str]) -> str:
    told = f"Nobody should be treated differently because of what is protected: {', '.join(protected)}."
    if not seen:
        return f"{told} The model sees none of it."
    return (
        f"{told} **The model sees {', '.join(seen)}**: look at the results by group below, or train without, "
        "with `protected=` and these columns."
    )


def _row(one: tuple[str, str, Entry]) -> tuple[Markdown, ...]:
    name, use, entry = one
    marks = [mark for mark in (use, "protected" if entry.protected else "") if mark]
    told = f"{literal(name)} ({', '.join(marks)})" if marks else literal(name)
    meanings = [f"{literal(stored)}: {literal(meaning)}" for stored, meaning in entry.decode[:MAX_MEANINGS]]
    meanings += [f"… and {len(entry.decode) - MAX_MEANINGS} more"] if len(entry.decode) > MAX_MEANINGS else []
    texts = (
        told,
        literal(entry.description),
        literal(entry.unit),
        ", ".join(meanings),
        literal(entry.author),
    )
    return tuple(map(Markdown, texts))
