"""From the columns of a table to those of a forest, in ONNX.

Numbers and truth values come as doubles, NaN where there is none; categories and dates as text, of which a
text that training never saw counts as missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from proto_model.forest.expansion import Op, Step
from proto_model.formats.graph import ML, Graph
from proto_model.formats.steps import level_table
from proto_model.schema import SECONDS_OF, ModelSchema
from proto_model.values import MISSING_MARKERS

_DAY = 86_400
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_PATTERNS = {"date": _DATE, "datetime": f"{_DATE}(T[0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}})?Z?)?"}
_PARTS = (Op.YEAR, Op.MONTH, Op.DAY, Op.WEEKDAY, Op.HOUR)


@dataclass
class Columns:
    """Makes the columns of a forest; each part of an input is made once."""

    graph: Graph
    schema: ModelSchema
    _made: dict[tuple[int, str], str] = field(default_factory=dict)
    _dates: dict[int, dict[Op | str, str]] = field(default_factory=dict)

    def of(self, step: Step) -> str:
        """Name of a column of doubles, as the forest sees it."""
        graph, feature = self.graph, self.schema.features[step.source]
        if feature.categories is not None:
            table = graph.constant(level_table(step, len(feature.categories)), "levels")
            return graph.add("Gather", table, self._level(step.source))
        if step.op in _PARTS:
            return self._date(step.source)[step.op]
        x = self._number(step.source)
        if step.op is Op.IDENTITY:
            return x
        if step.op is Op.AGE:
            away = graph.add("Sub", graph.number(step.value), x)
            unit = graph.number(SECONDS_OF[feature.type])
            return graph.add("Div", graph.add("Mul", away, unit), graph.number(_DAY))
        missing = self._missing(step.source)
        if step.op is Op.IS_MISSING:
            return graph.cast(missing, "DOUBLE")
        if step.op is Op.FILL:
            return graph.where(missing, graph.number(step.value), x)
        first, second = (graph.number(number) for number in step.table[:2])
        if step.op is Op.SHIFTED:
            scaled = graph.add("Div", graph.add("Sub", x, first), second)
        else:
            scaled = graph.add("Add", graph.add("Mul", x, first), second)
        return graph.where(missing, graph.number(step.table[2]), scaled) if len(step.table) == 3 else scaled

    def _input(self, source: int) -> str:
        return self._once(source, "input", lambda: self.graph.column(self.schema.feature_names[source]))

    def _level(self, source: int) -> str:
        """Code of a category; that behind the last one for a missing or unseen one."""
        levels = list(self.schema.features[source].categories or ())
        return self._once(
            source,
            "level",
            lambda: self.graph.add(
                "LabelEncoder",
                self._input(source),
                domain=ML,
                keys_strings=levels or [""],  # of a table that has no category, all are unseen
                values_int64s=list(range(max(len(levels), 1))),
                default_int64=len(levels),
            ),
        )

    def _number(self, source: int) -> str:
        if self.schema.features[source].takes_numbers:
            return self._input(source)
        return self._date(source)["code"]

    def _missing(self, source: int) -> str:
        x = self._number(source)
        return self._once(source, "missing", lambda: self.graph.add("IsNaN", x))

    def _once(self, source: int, what: str, make: Callable[[], str]) -> str:
        if (source, what) not in self._made:
            self._made[source, what] = make()
        return self._made[source, what]

    def _date(self, source: int) -> dict[Op | str, str]:
        """Parts and code of a date, NaN where there is none; a text that is no date is an error."""
        if source not in self._dates:
            feature = self.schema.features[source]
            self._dates[source] = _DateParts(self.graph, feature.type).of(self._input(source))
        return self._dates[source]


@dataclass
class _DateParts:
    """Reads dates as `proto_model.dates` does; it refuses offsets, and fractions of a second."""

    graph: Graph
    kind: str

    def of(self, text: str) -> dict[Op | str, str]:
        graph = self.graph
        is_marker = graph.add(
            "LabelEncoder",
            text,
            domain=ML,
            keys_strings=list(MISSING_MARKERS),
            values_int64s=[1] * len(MISSING_MARKERS),
            default_int64=0,
        )
        missing = graph.cast(is_marker, "BOOL")
        text = graph.where(missing, graph.constant(["1970-01-01"]), text)
        is_date = graph.add("RegexFullMatch", text, pattern=_PATTERNS[self.kind])
        # No number can be made of its parts, which ends the run.
        text = graph.where(is_date, text, graph.constant(["-".join([f"no {self.kind}"] * 3)]))
        day_text, time_text = self._halves(text)
        year, month, day = self._numbers(day_text, "-", 3)
        days = self._days(year, month, day)
        weekday = graph.add("Mod", graph.add("Add", days, graph.whole(3)), graph.whole(7))
        parts: dict[Op | str, str] = dict(zip(_PARTS, (year, month, day, weekday), strict=False))
        parts["code"] = days
        if self.kind == "datetime":
            hour, minute, second = self._numbers(
                graph.add("StringConcat", time_text, graph.constant([":00"])), ":", 3
            )
            parts[Op.HOUR] = hour
            units = ((days, _DAY), (hour, 3600), (minute, 60), (second, 1))
            parts["code"] = graph.sum([graph.add("Mul", part, graph.whole(unit)) for part, unit in units])
        nothing = graph.number(np.nan)
        return {
            part: graph.where(missing, nothing, graph.cast(name, "DOUBLE")) for part, name in parts.items()
        }

    def _halves(self, text: str) -> tuple[str, str]:
        """Day and time; midnight where there is no time."""
        graph = self.graph
        if self.kind == "date":
            return text, ""
        text = self._pieces(graph.add("StringConcat", text, graph.constant(["Z"])), "Z", 1)[0]
        halves = self._pieces(graph.add("StringConcat", text, graph.constant(["T00:00:00"])), "T", 2)
        return halves[0], halves[1]

    def _numbers(self, text: str, delimiter: str, n_parts: int) -> list[str]:
        return [self.graph.cast(piece, "INT64") for piece in self._pieces(text, delimiter, n_parts)]

    def _pieces(self, text: str, delimiter: str, n_parts: int) -> list[str]:
        """The first few pieces of texts."""
        graph = self.graph
        names = [graph.name("pieces"), graph.name("count")]
        pieces = graph.add_several("StringSplit", text, outputs=names, delimiter=delimiter)[0]
        return [graph.add("Gather", pieces, graph.whole(place), axis=2) for place in range(n_parts)]

    def _days(self, year: str, month: str, day: str) -> str:
        """Days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms")."""
        graph = self.graph

        def whole(operator: str, left: str, right: int) -> str:
            return graph.add(operator, left, graph.whole(right))

        is_early = graph.add("LessOrEqual", month, graph.whole(2))  # the year begins in March
        year = graph.add("Sub", year, graph.cast(is_early, "INT64"))
        shift = graph.where(is_early, graph.whole(9), graph.whole(-3))
        era = whole("Div", year, 400)
        of_era = graph.add("Sub", year, whole("Mul", era, 400))
        shifted = whole("Mul", graph.add("Add", month, shift), 153)
        of_year = graph.add("Add", whole("Div", whole("Add", shifted, 2), 5), whole("Sub", day, 1))
        leap = graph.add("Sub", whole("Div", of_era, 4), whole("Div", of_era, 100))
        days = graph.sum([whole("Mul", of_era, 365), leap, of_year, whole("Mul", era, 146_097)])
        return whole("Sub", days, 719_468)
