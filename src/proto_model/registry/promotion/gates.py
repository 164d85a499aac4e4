"""Gates as people write them: `recall[malignant] >= .95`, `selection_ratio[sex] >= .8`, `roc_auc=.005`.

Reading one needs no model, so that a mistake is told before anything is loaded.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from proto_model.errors import InputError
from proto_model.statistics import CLASS_METRIC_NAMES, LOWER_IS_BETTER, METRIC_NAMES, GroupMeasure

_BRACKETS = r"(?:\[(?P<first>[^\]]*)\])?\s*(?:\[(?P<second>[^\]]*)\])?"
_LIMIT = re.compile(rf"\s*(?P<name>\w+)\s*{_BRACKETS}\s*(?P<sign>[<>=]=?)\s*(?P<number>\S+)\s*")
_FORMS = {
    "metric": "--gate expects METRIC >= NUMBER or METRIC[CLASS] >= NUMBER, such as recall[malignant] >= 0.95",
    "group": "--fairness expects MEASURE_ratio[COLUMN] >= NUMBER or MEASURE_gap[COLUMN] <= NUMBER, such as "
    "selection_ratio[sex] >= 0.8",
    "no_worse": "--no-worse expects METRIC=MARGIN or METRIC[CLASS]=MARGIN, such as roc_auc=0.005",
}
_MEASURES: tuple[GroupMeasure, ...] = get_args(GroupMeasure)
_HIGHEST = {"log_loss": math.inf, "brier": 2.0}

Kind = Literal["metric", "group", "no_worse"]


@dataclass(frozen=True)
class Gate:
    """A limit that a challenger has to keep.

    `name` is a metric; of a gate on groups a measure, which is compared as a ratio or as a gap. `label` is
    the class that it is about, as text, and `column` has the groups. Of a gate against the champion, `limit`
    is the margin.
    """

    kind: Kind
    text: str
    name: str
    limit: float
    at_least: bool = True
    label: str | None = None
    column: str | None = None
    ratio: bool = False


def parse_gates(texts: list[str], kind: Kind) -> tuple[Gate, ...]:
    """Gates from texts, each of which may hold several with a semicolon between them.

    An InputError says what is wrong with one, and what would be right.

    Examples
    --------
    >>> [gate.label for gate in parse_gates(["recall[a] >= .9; recall[>=50K] >= .8"], "metric")]
    ['a', '>=50K']
    """
    parse = {"metric": _metric_gate, "group": _group_gate, "no_worse": _no_worse_gate}[kind]
    gates: list[Gate] = []
    for text in texts:
        parts = [part.strip() for part in re.split(r";(?![^\[]*\])", text)]
        if not any(parts):  # a variable that is not set must not promote without its gate
            raise InputError(f"Gate {text!r} is empty. {_FORMS[kind]}. Leave it out for no gate.")
        gates += [parse(part) for part in parts if part]
    return tuple(gates)


def _metric_gate(text: str) -> Gate:
    parts = _parts(text, "metric", (">=", "<="))
    name, label = _metric(text, parts)
    at_least = parts["sign"] == ">="
    if at_least == (name in LOWER_IS_BETTER):
        better, sign = ("lower", "<=") if at_least else ("higher", ">=")
        raise InputError(f"Gate {text!r}: {name} is better when {better}, so write {name} {sign} NUMBER.")
    limit = _number(text, parts["number"], _HIGHEST.get(name, 1.0))
    return Gate("metric", text, name, limit, at_least, label)


def _group_gate(text: str) -> Gate:
    parts = _parts(text, "group", (">=", "<="))
    names = [f"{measure}_{form}" for measure in _MEASURES for form in ("ratio", "gap")]
    if parts["name"] not in names:
        raise InputError(
            f"Gate {text!r}: there is no measure {parts['name']!r}.{_meant(parts['name'], names)}"
        )
    measure, _, form = parts["name"].rpartition("_")
    if not parts["first"]:
        raise InputError(f"Gate {text!r}: the column with the groups is missing. {_FORMS['group']}.")
    sign = ">=" if form == "ratio" else "<="
    if parts["sign"] != sign:
        raise InputError(
            f"Gate {text!r}: a {form} takes {sign}: {parts['name']}[{parts['first']}] {sign} NUMBER."
        )
    if measure == "accuracy" and parts["second"]:
        raise InputError(f"Gate {text!r}: accuracy is about all classes; leave out [{parts['second']}].")
    limit = _number(text, parts["number"], 1.0)
    label = parts["second"] or None
    return Gate("group", text, measure, limit, form == "ratio", label, parts["first"], form == "ratio")


def _no_worse_gate(text: str) -> Gate:
    parts = _parts(text, "no_worse", ("=",))
    name, label = _metric(text, parts)
    return Gate("no_worse", text, name, _number(text, parts["number"], _HIGHEST.get(name, 1.0)), True, label)


def _parts(text: str, kind: Kind, signs: tuple[str, ...]) -> dict[str, str]:
    match = _LIMIT.fullmatch(text)
    if match is None or match["sign"] not in signs:
        raise InputError(f"Gate {text!r} is not understood. {_FORMS[kind]}.")
    return {name: (value or "").strip() for name, value in match.groupdict().items()}


def _metric(text: str, parts: dict[str, str]) -> tuple[str, str | None]:
    """Metric and class of a gate."""
    name, label = parts["name"], parts["first"] or None
    known = METRIC_NAMES if label is None else CLASS_METRIC_NAMES
    if name in known:
        return name, label
    if label is None and name in CLASS_METRIC_NAMES:
        raise InputError(f"Gate {text!r}: {name} is a metric of one class. Name it: {name}[CLASS].")
    if label is not None and name in METRIC_NAMES:
        raise InputError(f"Gate {text!r}: {name} is a metric of all classes; leave out [{label}].")
    raise InputError(f"Gate {text!r}: there is no metric {name!r}.{_meant(name, known)}")


def _meant(name: str, known: list[str] | tuple[str, ...]) -> str:
    """A suggestion for a name that is not known."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" There are: {', '.join(known)}."


def _number(text: str, number: str, highest: float) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value <= highest or math.isinf(value):
        expected = "a number from 0" if math.isinf(highest) else f"a number from 0 to {highest:g}"
        raise InputError(f"Gate {text!r}: {number} given, {expected} expected.")
    return value


def no_such(what: str, name: str, known: list[str]) -> str:
    """That a gate names a class or a column that is not there."""
    return f"there is no {what} {name!r}.{_meant(name, known[:50])}"
