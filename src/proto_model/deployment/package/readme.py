"""`README.md` of a package: how to use it without anything else of this project."""

from __future__ import annotations

import pprint
from collections.abc import Sequence

from proto_model.deployment.package import template
from proto_model.deployment.package.facts import VersionFacts
from proto_model.deployment.package.layout import EXAMPLE, MANIFEST, METADATA, README, REQUIREMENTS, SETUP
from proto_model.schema import Feature, ModelSchema

_MOST = 30
_KINDS = {
    "double": "number",
    "long": "whole number",
    "boolean": "true or false",
    "date": "date, as 2026-11-22",
    "datetime": "date and time, as 2026-11-22T08:00:00Z",
    "text": "text",
}


def readme_text(facts: VersionFacts, schema: ModelSchema, row: Sequence[str]) -> str:
    """Text of the file; `row` are the cells of the first row of the example."""
    example = {
        feature.name: [_value(text, feature)] for feature, text in zip(schema.features, row, strict=True)
    }
    return (
        template.content(README)
        .decode()
        .format(
            title=facts.title,
            description=facts.description or "(no description)",
            target=schema.target,
            classes=", ".join(f"`{label}`" for label in schema.classes[:_MOST]) + _rest(len(schema.classes)),
            rows=pprint.pformat(example, width=100, sort_dicts=False, compact=True),
            columns="\n".join(map(_line, schema.features)),
            setup=SETUP,
            requirements=REQUIREMENTS,
            metadata=METADATA,
            manifest=MANIFEST,
            example=EXAMPLE,
        )
    )


def _line(feature: Feature) -> str:
    name = feature.name.replace("|", "\\|").replace("\n", " ")
    return f"| {name} | {_values(feature)} | {'yes' if feature.nullable else 'no'} |"


def _values(feature: Feature) -> str:
    if feature.categories is None:
        return _KINDS[feature.type]
    shown = ", ".join(feature.categories[:_MOST]) + _rest(len(feature.categories))
    return shown.replace("|", "\\|").replace("\n", " ")


def _rest(n: int) -> str:
    return f" and {n - _MOST} more" if n > _MOST else ""


def _value(text: str, feature: Feature) -> object:
    """Value of a cell, as one types it in Python."""
    if not text:
        return None
    if feature.type == "boolean":
        return text == "true"
    if feature.type in ("double", "long"):
        return float(text) if feature.type == "double" else int(text)
    return text
