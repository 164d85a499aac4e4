"""One feature of a picture: its range in training, the rule's band on it, the row, and what would flip it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from mapper.mapping.dates import DATE_TYPES, date_text, seconds_in
from mapper.mapping.schema import Feature
from mapper.mapping.values import number_in

INK, MUTED, GRID, ACCENT, SECOND = "#1f2933", "#616e7c", "#e4e7eb", "#2563a8", "#b8501f"
FONTS = "DejaVu Sans, Verdana, Liberation Sans, Arial, Helvetica, Noto Sans, sans-serif"
WIDTH, LEFT, RIGHT, ROW = 900, 216, 36, 62
BAR = 14
LONGEST = 36
SIGN = 0.62  # width of a character, in its size

TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def text_at(
    x: float, y: float, text: str, *, size: int, color: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    """Element with a text, whose base line starts (or ends) there."""
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )


@dataclass(frozen=True)
class Track:
    """The line of one feature; places on it run from 0 to 1. `steps` are numbered values that flip."""

    feature: Feature
    value: Any
    premise: Mapping[str, Any] | None
    steps: tuple[tuple[int, Any], ...]

    def parts(self, top: float) -> list[str]:
        """Its elements, between `top` and `ROW` below it."""
        y = top + 24
        name = text_at(LEFT - 18, y + 5, _short(self.feature.label, 24), size=13, anchor="end")
        missing = self.value is None or self.value == ""
        start = _x(0.5 if missing else self._place(self.value))
        dot = f'<circle cx="{start:.1f}" cy="{y}" r="5.5" fill="{"#ffffff" if missing else INK}" '
        dot += f'stroke="{INK}" stroke-width="1.5"/>'
        return [name, *self._bars(y), *self._arrows(y, start), dot, *self._values(y, start, missing)]

    @property
    def _is_number(self) -> bool:
        return self.feature.type in ("double", "long", *DATE_TYPES)

    @property
    def _names(self) -> list[Any]:
        """Values of a feature that is no number."""
        if self.feature.type == "boolean":
            return [False, True]
        return [""] if self.feature.type == "text" else list(self.feature.categories) or [""]

    def _bars(self, y: float) -> list[str]:
        premise = self.premise
        if self._is_number:
            bars = [_bar(y, 0.0, 1.0, GRID)]
            if premise is not None and "in" not in premise:
                low = self._place(premise["above"]) if "above" in premise else 0.0
                high = self._place(premise["at_most"]) if "at_most" in premise else 1.0
                bars.append(_bar(y, low, max(high, low + 0.004), ACCENT))
            return bars
        names = self._names
        allowed: list[Any] = []
        if premise is not None and "in" in premise:
            allowed = premise["in"]
        elif premise is not None and "not_in" in premise:
            allowed = [name for name in names if name not in premise["not_in"]]
        elif premise is not None:  # words of a text, or a list that was too long: the row satisfies it
            allowed = [names[0] if self.feature.type == "text" else self._typed(self.value)]
        gap = min(0.003, 0.1 / len(names))
        return [
            _bar(y, i / len(names) + gap, (i + 1) / len(names) - gap, ACCENT if name in allowed else GRID)
            for i, name in enumerate(names)
        ]

    def _arrows(self, y: float, start: float) -> list[str]:
        parts = []
        for k, (_, to) in enumerate(self.steps):
            end, height = _x(self._place(to)), y + 4.0 * (k - 0.5 * (len(self.steps) - 1))
            back = 7 if end >= start else -7
            parts.append(
                f'<path d="M{start:.1f} {height:.1f}H{end:.1f}" stroke="{SECOND}" stroke-width="1.6"/>'
                f'<path d="M{end:.1f} {height:.1f}l{-back} -3.6v7.2z" fill="{SECOND}"/>'
            )
        if self.steps:
            label = ", ".join(f"({i}) {self._text(to)}" for i, to in self.steps)
            label = _short(label, 2 * LONGEST)
            parts.append(_fitted(_x(self._place(self.steps[0][1])), y - 13, label, color=SECOND))
        return parts

    def _values(self, y: float, start: float, missing: bool) -> list[str]:
        """The row's value below the bar, and the ends of the range where it leaves them room."""
        text = "missing" if missing else self._text(self.value)
        parts = [_fitted(start, y + 23, text, color=INK, bold=True)]
        if not self._is_number:
            return parts
        low, high = _span(start, text)
        ends = self._bound(self.feature.minimum), self._bound(self.feature.maximum)
        if _span(LEFT, ends[0])[1] + 8 < low:
            parts.append(text_at(LEFT, y + 23, ends[0], size=11, color=MUTED))
        if _span(WIDTH - RIGHT, ends[1])[0] - 8 > high:
            parts.append(text_at(WIDTH - RIGHT, y + 23, ends[1], size=11, color=MUTED, anchor="end"))
        return parts

    def _place(self, value: Any) -> float:
        """Where a value stands; in the middle where that cannot be said."""
        if not self._is_number:
            names, value = self._names, self._typed(value)
            return (names.index(value) + 0.5) / len(names) if value in names else 0.5
        low, high, number = self.feature.minimum, self.feature.maximum, self._number(value)
        if number is None or high <= low:
            return 0.5
        return min(max((number - low) / (high - low), 0.0), 1.0)

    def _typed(self, value: Any) -> Any:
        """A truth value as such, whether it came as one, as a number, or as text; others as text."""
        if self.feature.type == "boolean":
            return TRUTHS.get(str(value).strip().lower())
        return str(value)

    def _number(self, value: Any) -> float | None:
        if self.feature.type in DATE_TYPES and isinstance(value, str):
            return seconds_in(value.strip())
        number = number_in(value)
        return None if number is None else float(number)

    def _text(self, value: Any) -> str:
        number = self._number(value) if self._is_number else None
        text = str(value) if number is None else self._bound(number)
        if self.feature.type == "boolean":
            text = str(self._typed(value)).lower()
        return _short(self.feature.entry.words.get(text, text), LONGEST)

    def _bound(self, number: float) -> str:
        if self.feature.type in DATE_TYPES:
            return date_text(number, self.feature.type)
        return f"{number:.6g}"


def _x(place: float) -> float:
    return LEFT + place * (WIDTH - LEFT - RIGHT)


def _bar(y: float, low: float, high: float, color: str) -> str:
    opacity = ' fill-opacity="0.55"' if color == ACCENT else ""
    return (
        f'<rect x="{_x(low):.1f}" y="{y - BAR / 2:.1f}" width="{max(_x(high) - _x(low), 1.0):.1f}" '
        f'height="{BAR}" rx="3" fill="{color}"{opacity}/>'
    )


def _half(text: str) -> float:
    return len(text) * 11 * SIGN / 2


def _span(x: float, text: str) -> tuple[float, float]:
    """Ends of a small text as near to `x` as the picture's edges leave it."""
    half = _half(text)
    middle = min(max(x, LEFT + half), WIDTH - RIGHT - half)
    return middle - half, middle + half


def _fitted(x: float, y: float, text: str, *, color: str, bold: bool = False) -> str:
    low, high = _span(x, text)
    return text_at((low + high) / 2, y, text, size=11, color=color, anchor="middle", bold=bold)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
