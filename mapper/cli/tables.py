"""Answers and schemas as text for a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import orjson

from mapper.client.picture import explanation_in
from mapper.mapping.answer import ROW_FIELDS
from mapper.mapping.schema import ModelSchema

MAX_CLASS_COLUMNS = 6
BAR_CHARACTERS = 24
MAX_MEANING_CHARACTERS = 100
MIN_TEXT_CHARACTERS = 20


def terminal_width() -> int | None:
    """Columns of the terminal that is printed to; None if it is a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(text: str, width: int | None) -> str:
    """Text in lines of a width, broken between words; a line that goes on is indented further."""
    if width is None:
        return text
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        lines += _wrapped(line, width, indent + "    ") or [""]
    return "\n".join(lines)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def text_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int] = (),
    width: int | None = None,
) -> str:
    """Table in aligned columns; those whose positions are in `numbers` are aligned to the right.

    If it is wider than a width, the texts of its last column go on in further lines.

    Examples
    --------
    >>> print(text_table(["name", "n"], [["apple", "5"], ["fig", "12"]], numbers=[1]))
    name    n
    -----  --
    apple   5
    fig    12
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    before = sum(widths[:-1]) + 2 * (len(widths) - 1)
    if width is not None and rows and before + widths[-1] > width:
        rows = [part for row in rows for part in _folded(row, max(MIN_TEXT_CHARACTERS, width - before))]
        widths[-1] = max(len(row[-1]) for row in [head, *rows])
    lines = [list(head), ["-" * width for width in widths], *map(list, rows)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if position in numbers else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _folded(row: Sequence[str], width: int) -> list[list[str]]:
    """A row whose last text is as wide as that, and rows that hold the rest of the text."""
    first, *rest = _wrapped(row[-1], width) or [""]
    return [[*row[:-1], first], *([*[""] * (len(row) - 1), text] for text in rest)]


def is_usual(predictions: Sequence[dict[str, Any]]) -> bool:
    """Whether predictions have the usual fields, not those of an application's own mapping."""
    least, most = (
        {"prediction", "probability"},
        {field.name for fields in ROW_FIELDS.values() for field in fields},
    )
    return all(least <= item.keys() <= most for item in predictions)


def own_table(predictions: Sequence[dict[str, Any]], first_row: int, width: int | None = None) -> str:
    """Predictions with fields of an application's own, one row each."""
    names = list(dict.fromkeys(name for item in predictions for name in item))
    rows = [
        [str(row), *(_cell(item.get(name)) for name in names)]
        for row, item in enumerate(predictions, first_row)
    ]
    return text_table(["row", *names], rows, numbers=[0], width=width)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def prediction_table(
    predictions: Sequence[dict[str, Any]], first_row: int, schema: ModelSchema, width: int | None = None
) -> str:
    """Predictions, one row each; probabilities of all classes while they are few.

    Each class has a column where they fit into the width; else all share one.
    """
    is_shown = len(schema.class_texts) <= MAX_CLASS_COLUMNS and all("probabilities" in p for p in predictions)
    classes = schema.class_texts if is_shown else ()
    has_sets = any("prediction_set" in item for item in predictions)
    head = ["row", schema.target, "probability", *(["set"] if has_sets else [])]
    rows = [
        [
            str(row),
            str(item["prediction"]),
            f"{item['probability']:.3f}",
            *([", ".join(map(str, item["prediction_set"]))] if has_sets else []),
        ]
        for row, item in enumerate(predictions, first_row)
    ]
    shares = [[f"{item['probabilities'][text]:.3f}" for text in classes] for item in predictions]
    wide_head = [*head, *(f"p({text})" for text in classes)]
    numbers = [0, 2, *range(len(head), len(wide_head))]
    wide = text_table(wide_head, [[*row, *share] for row, share in zip(rows, shares, strict=True)], numbers)
    if not classes or width is None or max(map(len, wide.splitlines())) <= width:
        return wide
    told = [", ".join(map("=".join, zip(classes, share, strict=True))) for share in shares]
    narrow = [[*row, text] for row, text in zip(rows, told, strict=True)]
    return text_table([*head, "probabilities"], narrow, [0, 2], width)


def explanation_text(row: int, item: dict[str, Any]) -> str:
    """One prediction, why, and what would change it."""
    explanation = explanation_in(item)
    rule = explanation["rule"]
    label, probability = explanation["prediction"], explanation["probability"]
    own = "" if "prediction" in item else _own_fields(item)
    lines = [f"row {row}: {own or f'{label} (probability {probability:.3f})'}"]
    if "prediction_set" in item:
        lines.append(f"  may be {', '.join(map(str, item['prediction_set']))}")
    lines.append("  because")
    lines.append(f"    {rule['text']}")
    lines += _measures(explanation)
    pairs = sorted(explanation["feature_importances"].items(), key=lambda pair: -pair[1])
    important = [(name, value) for name, value in pairs[:5] if value > 0]
    lines += ["  what mattered"] if important else []
    longest = max((len(name) for name, _ in important), default=0)
    for name, value in important:
        lines.append(f"    {name.ljust(longest)}  {'#' * max(1, round(value * BAR_CHARACTERS))} {value:.2f}")
    lines += ["  it would change if"] if explanation["counterfactuals"] else []
    for found in explanation["counterfactuals"]:
        doubt = "" if found["valid"] else " (not confirmed by the model)"
        exception = any(change.get("against") for change in found["changes"])
        lines.append(f"    {found['text']}{doubt}{' (an exception of the model)' if exception else ''}")
    if explanation.get("held_fixed"):
        lines.append(f"  held fixed, as sensitive: {', '.join(explanation['held_fixed'])}")
    lines += [f"  note: {note}" for note in explanation["notes"]]
    return "\n".join(lines)


def _measures(explanation: dict[str, Any]) -> list[str]:
    """How far rule and surrogate can be trusted, and what their fidelity means."""
    rule, fidelity = explanation["rule"], explanation.get("fidelity")
    of_class = explanation.get("class_fidelity")  # versions logged before have none
    # With two classes, both are the same number, which is shown once.
    own = None if of_class == fidelity else of_class
    named = {"precision": rule.get("precision"), "coverage": rule.get("coverage"), "fidelity": fidelity}
    measures = [
        f"{name} {value:.2f}" for name, value in {**named, "class fidelity": own}.items() if value is not None
    ]
    lines = [f"    ({', '.join(measures)})"] if measures else []
    if fidelity is not None and of_class is not None:
        name = "fidelity" if own is None else "class fidelity"
        lines.append(
            f"    {name}: how well a small tree that imitates the model nearby tells "
            f"{explanation['prediction']} from everything else"
        )
    return lines


def _own_fields(item: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in item.items() if not isinstance(value, dict))


def schema_table(schema: ModelSchema, width: int | None = None) -> str:
    """What the model takes, feature by feature."""
    rows = [
        [f.name, f.type, "may be missing" if f.nullable else "required", f.seen, str(f.typical)]
        for f in schema.features
    ]
    head = ["feature", "type", "", "training saw", "typical"]
    told = [_shortened(" ".join(feature.told)) for feature in schema.features]
    if any(told):
        head, rows = [*head, "meaning"], [[*row, text] for row, text in zip(rows, told, strict=True)]
    target = " ".join([f"{schema.target}: {', '.join(schema.class_texts)}", *_of_target(schema)])
    first = fitted(f"{schema.model_name} predicts {target}", width)
    return f"{first}\n\n{text_table(head, rows, width=width)}"


def _of_target(schema: ModelSchema) -> list[str]:
    told = _shortened(" ".join(schema.target_entry.sentences))
    return [f"({told})"] if told else []


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_MEANING_CHARACTERS else f"{text[: MAX_MEANING_CHARACTERS - 1]}…"


def print_json(content: object) -> None:
    """Print indented JSON."""
    sys.stdout.buffer.write(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()
