"""From the model's answers to answers in an application's words, explanations among them.

Of an explanation, what concerns a field that is renamed, converted or looked up is told in the field's name
and in the client's units and words. A feature that the mapping computes or sets has no field of its own: it
keeps the model's name and values, and a note says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Table
from typing import Any

from mapper.application.functions import NotComputableError, Value, spelled
from mapper.application.mapping import CLASS_SHARE, AnswerField, Field, Mapping
from mapper.application.wording import Wording
from mapper.errors import ModelServerAnswerError
from mapper.mapping.answer import AnswerMapper, TangoResponse
from mapper.mapping.request import ModelRequest
from mapper.mapping.schema import Label, class_text

Explained = dict[str, Any]


class MappedAnswers(AnswerMapper):
    """Checks answers against the model's schema, and translates them."""

    def __init__(self, mapping: Mapping, version: str | None = None) -> None:
        super().__init__(mapping.inside, version)
        self._words = mapping.words
        self._answer = mapping.answer
        self._explanations = ExplanationMapper(mapping)
        named = (field.name for field in mapping.answer or () if field.part == "explanation")
        self._explanation = next(named, "explanation")
        self._is_text = len({type(word) for word in mapping.words.values()}) > 1

    def map(
        self, answer: Table[str, Any], request: ModelRequest | None, *, explain: bool = False
    ) -> TangoResponse:
        """What the client gets; raises as `AnswerMapper.map` does."""
        result = super().map(answer, request, explain=explain)
        if "predictions" in result:
            try:
                result["predictions"] = [self._row(row) for row in result["predictions"]]
            except NotComputableError as error:
                raise ModelServerAnswerError(
                    f"The mapping has no answer for a prediction: {error}."
                ) from error
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ModelServerAnswerError(
                    "The model server's explanation is not of the known form. "
                    "Does it serve the version whose schema the mapper has?"
                ) from error
        return result

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        words = self._words
        outside: dict[str, Any] = {
            "prediction": words[class_text(row["prediction"])],
            "probability": row["probability"],
        }
        if "probabilities" in row:  # a model that only explains gives none
            shares = {class_text(words[text]): share for text, share in row["probabilities"].items()}
            outside["probabilities"] = shares
        members = [words[class_text(label)] for label in row.get("prediction_set", ())]
        if self._answer is not None:
            is_whole = "probabilities" in outside
            record = self._record(outside)
            outside = {
                field.name: _shown_number(field, _part(field, outside, record))
                for field in self._answer
                if field.part != "explanation" and (is_whole or field.by_explainer)
            }
        if members:
            outside["prediction_set"] = members
        if "explanation" in row:
            outside[self._explanation] = self._explanations.map(row["explanation"])
        return outside

    def _record(self, outside: dict[str, Any]) -> dict[str, Value]:
        """What expressions of the answer read."""
        prediction = outside["prediction"]
        given = outside.get("probabilities", {})
        shares = {f"{CLASS_SHARE}{text}": given.get(text) for text in map(class_text, self._words.values())}
        is_text = self._is_text and prediction is not None
        return {
            "prediction": spelled(prediction) if is_text else prediction,
            "probability": outside["probability"],
            **shares,
        }


def _part(field: AnswerField, outside: dict[str, Any], record: dict[str, Value]) -> Any:
    if field.part is not None:
        return outside[field.part]
    return field.value if field.expression is None else field.expression.value(record)


def _shown_number(field: AnswerField, value: Any) -> Any:
    """A number in the field's unit and with its digits."""
    if isinstance(value, dict):
        return {name: _shown_number(field, share) for name, share in value.items()}
    if value is None or (field.unit is None and field.digits is None):
        return value
    number = float(value) if field.unit is None else field.unit.outward(float(value))
    return number if field.digits is None else round(number, field.digits)


class ExplanationMapper:
    """Tells explanations (`schemas/explanation.schema.json`) in a mapping's words."""

    def __init__(self, mapping: Mapping) -> None:
        self._fields = {field.feature: field for field in mapping.fields if field.feature is not None}
        self._words = mapping.words
        told = {name: inside.entry for name, inside in ((f.name, f) for f in mapping.inside.features)}
        told |= {field.name: field.outside.entry for field in mapping.fields}
        self._wording = Wording(told, mapping.target_entry)
        self._own = {name: f"is {expression.source}" for name, expression in mapping.computed.items()}
        self._own |= {name: "is set by the mapping" for name in mapping.constants}

    def map(self, given: Explained) -> Explained:
        """The explanation in the client's words; a form that is not known raises KeyError or TypeError."""
        rule = given["rule"]
        premises = [self._premise(item) for item in rule["premises"]]
        wanted = given["counterfactuals"]
        unsayable = [self._unsayable(item) for item in wanted]
        changes = [
            self._counterfactual(item) for item, names in zip(wanted, unsayable, strict=True) if not names
        ]
        held = given.get("held_fixed")  # versions logged before have none
        importances = {self._name(name): share for name, share in given["feature_importances"].items()}
        names = [item["feature"] for item in rule["premises"]]
        names += [change["feature"] for item in given["counterfactuals"] for change in item["changes"]]
        names += [name for name, share in given["feature_importances"].items() if share > 0]
        notes = [f"{name} {self._own[name]}." for name in dict.fromkeys(names) if name in self._own]
        notes += [
            f"A counterfactual is left out: the mapping has no word for its value of {' and '.join(names)}."
            for names in dict.fromkeys(filter(None, unsayable))
        ]
        consequence = self._label(rule["consequence"])
        return {
            **given,
            "prediction": self._label(given["prediction"]),
            "rule": {
                **rule,
                "premises": premises,
                "consequence": consequence,
                "text": self._wording.rule(premises, consequence),
            },
            "counterfactuals": changes,
            "feature_importances": importances,
            **({"held_fixed": [self._name(name) for name in held]} if held is not None else {}),
            "notes": [*given["notes"], *notes],
        }

    def _name(self, feature: str) -> str:
        field = self._fields.get(feature)
        return feature if field is None else field.name

    def _label(self, label: Label) -> Label:
        return self._words.get(class_text(label), label)

    def _counterfactual(self, item: Explained) -> Explained:
        changes = [
            {
                **change,
                "feature": self._name(change["feature"]),
                "from": self._value(change["feature"], change["from"]),
                "to": self._value(change["feature"], change["to"]),
            }
            for change in item["changes"]
        ]
        label = self._label(item["prediction"])
        rule = item["rule"]
        if rule is not None:
            premises = [self._premise(premise) for premise in rule["premises"]]
            rule = {**rule, "premises": premises, "consequence": self._label(rule["consequence"])}
        text = self._wording.change(changes, label)
        return {**item, "changes": changes, "prediction": label, "rule": rule, "text": text}

    def _unsayable(self, item: Explained) -> tuple[str, ...]:
        """Fields that a counterfactual changes to a value that no word of the client stands for."""
        changes = item["changes"]
        fields = [(self._fields.get(change["feature"]), change["to"]) for change in changes]
        return tuple(
            field.name for field, value in fields if field is not None and not _has_word(field, value)
        )

    def _value(self, feature: str, value: Value) -> Value:
        """A value of the model in the client's words; of several words for it, the first."""
        field = self._fields.get(feature)
        if field is None:
            return value
        if field.lookup is not None:
            return next((key for key, found in field.lookup.items() if found == value), value)
        if field.unit is not None and value is not None:
            return _whole(field.unit.outward(float(value)))
        return value

    def _premise(self, premise: Explained) -> Explained:
        field = self._fields.get(premise["feature"])
        if field is None:
            return premise
        outside = {**premise, "feature": field.name}
        if field.lookup is not None:
            return _looked_up(outside, field)
        for bound in ("above", "at_most"):
            if field.unit is not None and bound in outside:
                outside[bound] = _whole(field.unit.outward(float(outside[bound])))
        return outside


def _has_word(field: Field, value: Value) -> bool:
    """Whether a client can say a value; `otherwise` is said by its own name, as by any other word."""
    if field.lookup is None or value in field.lookup.values():
        return True
    return field.outside.values == "open" and value == field.otherwise


def _looked_up(premise: Explained, field: Field) -> Explained:
    """The words whose values satisfy a premise; values that no word stands for do not concern the client."""
    low, high = premise.pop("above", -math.inf), premise.pop("at_most", math.inf)
    among, others = premise.pop("in", None), premise.pop("not_in", None)
    table = field.lookup or {}
    if among is None and "of" in premise:
        if others is None:
            return premise  # the list was too long: how many they are is all that is known
        among = [value for value in table.values() if value is not None and value not in others]
    premise = {name: part for name, part in premise.items() if name not in ("count", "of")}
    if among is None:
        words = [key for key, value in table.items() if value is not None and low < float(value) <= high]
    else:
        words = [key for key, value in table.items() if value in among]
        words += [value for value in among if value not in table.values() and _has_word(field, value)]
    if premise.get("or_missing"):
        words += [key for key, value in table.items() if value is None]
    return {**premise, "in": words}


def _whole(number: float) -> int | float:
    return int(number) if number.is_integer() and abs(number) < 1e15 else number
