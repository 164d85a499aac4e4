"""Write the tables of request parameters into the documents.

Example: python scripts/parameter_tables.py

A table stands between `<!-- parameters: rows -->` and `<!-- end of parameters -->`; `file` instead of `rows`
lists what models for files have besides.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from proto_model.parameters import ROWS, Parameter, parameters_of

DOCS = Path(__file__).resolve().parents[1] / "docs"
TABLE = re.compile(
    r"(?P<begin><!-- parameters: (?P<of>rows|file) -->\n).*?(?P<end>\n<!-- end of parameters -->)", re.DOTALL
)


def documents() -> dict[Path, str]:
    """Each document that has a table, as it should be."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
    return {path: TABLE.sub(_filled, text) for path, text in texts.items() if TABLE.search(text)}


def _filled(match: re.Match[str]) -> str:
    of_rows = match["of"] == ROWS
    rows = [_row(parameter) for parameter in parameters_of() if (ROWS in parameter.of) == of_rows]
    return match["begin"] + "\n".join(["| | default | |", "|---|---|---|", *rows]) + match["end"]


def _row(parameter: Parameter) -> str:
    default = "" if parameter.is_off_by_default else parameter.default
    shown = default if isinstance(default, str) else json.dumps(default)
    others = [choice for choice in parameter.choices if choice != default]
    text = parameter.help
    if others and not any(f"`{choice}`" in text for choice in others):
        text = f"{text}, or {', '.join(f'`{choice}`' for choice in others)}"
    if parameter.limits is not None:
        text = f"{text}, from {parameter.limits[0]} to {parameter.limits[1]}"
    return f"| `{parameter.name}` | {f'`{shown}`' if shown else ''} | {text} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Write what has changed; always 0."""
    for path, text in documents().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
