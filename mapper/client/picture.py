"""An explanation as a picture (SVG): where the row stands, where its rule holds, and what would flip it.

Written as text, so that it needs no library; only PNG does. All texts are escaped: rows, names and meanings
come from elsewhere.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from mapper.client.track import FONTS, MUTED, ROW, WIDTH, Track, text_at
from mapper.errors import SettingsError
from mapper.mapping.schema import ModelSchema, class_text

__all__ = ["Picture", "check_picture", "explanation_in"]

SUFFIXES = (".svg", ".png")
MAX_TRACKS = 12
MAX_SHOWN = 3  # counterfactuals
LINE, LINE_CHARACTERS, MAX_LINES = 19, 118, 8
TOP, MARGIN = 86, 24
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NO_LIBRARY = (
    "PNG needs resvg-py: pip install 'proto-model-mapper[png]'. Or write a file whose name ends in .svg."
)
NO_FONTS = (
    "This machine has none of the fonts that the picture's texts need. Install one, such as Debian's "
    "fonts-dejavu-core, or write a file whose name ends in .svg."
)
SAMPLE = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">{}</svg>'


@dataclass(frozen=True)
class Picture:
    """A drawn explanation, which a notebook shows when it is the value of a cell."""

    svg: str

    @classmethod
    def of(
        cls, explanation: Mapping[str, Any], schema: ModelSchema, record: Mapping[str, Any], title: str = ""
    ) -> Picture:
        """Picture of an explanation of a record, as both went over HTTP.

        One track per feature of the rule and of the counterfactuals, the most important first, from the least
        to the greatest value in training; the same in words below. `title`, such as `Row 17`, stands before
        the prediction.
        """
        counterfactuals = explanation["counterfactuals"][:MAX_SHOWN]
        tracks = _tracks(explanation, schema, record, counterfactuals)
        lines = _lines(explanation, counterfactuals)
        below = TOP + ROW * len(tracks) + LINE
        height = below + LINE * len(lines) + MARGIN
        parts = [*_head(explanation, schema, title)]
        parts += [part for i, track in enumerate(tracks) for part in track.parts(TOP + ROW * i)]
        parts += [text_at(MARGIN, below + LINE * i, line, size=13) for i, line in enumerate(lines)]
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="{FONTS}">'
            f"<title>{escape(explanation['rule']['text'])}</title>"
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
        )
        return cls(NOT_XML.sub("\ufffd", svg))

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return self.svg

    def png(self) -> bytes:
        """The picture in pixels, two for each unit; raises SettingsError without the library or fonts."""
        try:
            from resvg_py import svg_to_bytes
        except ImportError as error:
            raise SettingsError(NO_LIBRARY) from error
        drawn, empty = (
            svg_to_bytes(svg_string=SAMPLE.format(text))
            for text in (f'<text y="15" font-family="{FONTS}">x</text>', "")
        )
        if bytes(drawn) == bytes(empty):
            raise SettingsError(NO_FONTS)
        return bytes(svg_to_bytes(svg_string=self.svg, zoom=2))

    def write(self, path: Path | str) -> None:
        """Write a file, as SVG or PNG by its name's end; raises SettingsError if that cannot be done."""
        path = Path(path)
        check_picture(path)
        content = self.png() if path.suffix.lower() == ".png" else self.svg.encode()
        try:
            path.write_bytes(content)
        except OSError as error:
            raise SettingsError(f"Cannot write {path}: {error.strerror}.") from error


def explanation_in(item: Mapping[str, Any]) -> dict[str, Any]:
    """The explanation among the fields of a row, which a mapping may give another name."""
    return next(part for part in item.values() if isinstance(part, dict) and "rule" in part)


def check_picture(path: Path) -> None:
    """Nothing if a picture may have that name; raises SettingsError otherwise."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{path} is no name of a picture. End it in .svg or .png.")


def _tracks(
    explanation: Mapping[str, Any],
    schema: ModelSchema,
    record: Mapping[str, Any],
    counterfactuals: list[dict[str, Any]],
) -> list[Track]:
    premises = {premise["feature"]: premise for premise in explanation["rule"]["premises"]}
    steps: dict[str, list[tuple[int, Any]]] = {}
    for i, found in enumerate(counterfactuals, 1):
        for change in found["changes"]:
            steps.setdefault(change["feature"], []).append((i, change["to"]))
    features = {feature.name: feature for feature in schema.features}
    importance = explanation["feature_importances"]
    wanted = [name for name in dict.fromkeys([*premises, *steps]) if name in features]
    names = sorted(wanted, key=lambda name: -importance.get(name, 0.0))[:MAX_TRACKS]
    return [
        Track(features[name], record.get(name), premises.get(name), tuple(steps.get(name, ())))
        for name in names
    ]


def _head(explanation: Mapping[str, Any], schema: ModelSchema, title: str) -> list[str]:
    label = class_text(explanation["prediction"])
    label = schema.target_entry.words.get(label, label)
    head = f"{title}: " if title else ""
    head += f"{textwrap.shorten(label, 48, placeholder=' …')} ({explanation['probability']:.0%})"
    rule = explanation["rule"]
    shares = ((rule.get("precision"), "right"), (rule.get("coverage"), "of rows"))  # null where not measured
    measured = ", ".join(f"{share:.0%} {what}" for share, what in shares if share is not None)
    legend = (
        f"Band: the rule holds{f' ({measured})' if measured else ''}. Dot: the row. Arrows flip the class."
    )
    return [
        text_at(MARGIN, 34, head, size=19, bold=True),
        text_at(MARGIN, 56, legend, size=12, color=MUTED),
    ]


def _lines(explanation: Mapping[str, Any], counterfactuals: list[dict[str, Any]]) -> list[str]:
    """Rule, counterfactuals and notes as sentences, wrapped."""
    texts = [explanation["rule"]["text"]]
    texts += [f"({i}) {found['text']}" for i, found in enumerate(counterfactuals, 1)]
    held = explanation.get("held_fixed")
    texts += [f"Held fixed, as sensitive: {', '.join(held)}."] if held else []
    return [
        line
        for text in (*texts, *explanation["notes"])
        for line in textwrap.wrap(text, LINE_CHARACTERS, max_lines=MAX_LINES, placeholder=" …")
    ]
