"""An application's mapping, checked: what a client sends, what the model gets of it, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from typing import Any

from mapper.application.expression import Expression
from mapper.mapping.answer import ROW_FIELDS, SHARE
from mapper.mapping.dates import DATE_TYPES, date_text
from mapper.mapping.dictionary import NO_ENTRY, Entry
from mapper.mapping.schema import Feature, Label, ModelSchema, Value, class_text

#: Parts of a prediction that a field of the answer can show.
PARTS = ("prediction", "probability", "probabilities", "explanation")
DIGITS = 12  # of a converted number: what is beyond is rounding noise


@dataclass(frozen=True)
class Unit:
    """A linear conversion: the model's number is the client's, times `factor` (above 0), plus `offset`."""

    name: str
    factor: float
    offset: float = 0.0

    def inward(self, number: float) -> float:
        """The model's number; forests compare in 32 bits, where its rounding noise is nothing."""
        return number * self.factor + self.offset

    def outward(self, number: float) -> float:
        """The client's number, without rounding noise.

        Examples
        --------
        >>> Unit("g", 0.001).outward(3.7), Unit("°F", 5 / 9, -160 / 9).outward(37)
        (3700.0, 98.6)
        """
        return float(f"{(number - self.offset) / self.factor:.{DIGITS}g}")


@dataclass(frozen=True)
class Field:
    """A field of a request.

    `outside` is what a client may send. If `feature` is named, its value goes to that feature of the model:
    converted by `unit` (and rounded, if the feature is of whole numbers), looked up in `lookup` (other texts
    are `otherwise`, if they are accepted), or as it is. `default`, in the client's words, stands for a
    missing value.
    """

    outside: Feature
    feature: str | None = None
    unit: Unit | None = None
    lookup: Table[str, Value] | None = None
    otherwise: Value = None
    default: Value = None

    @property
    def name(self) -> str:
        """Name of the field in requests."""
        return self.outside.name


CLASS_SHARE = "probability_"  # begins the names of the classes' probabilities in expressions


@dataclass(frozen=True)
class AnswerField:
    """A field of each row's answer: a part of the prediction, an expression, or else a constant."""

    name: str
    part: str | None = None
    expression: Expression | None = None
    value: Value = None
    unit: Unit | None = None
    digits: int | None = None
    text: str = ""

    @property
    def by_explainer(self) -> bool:
        """Whether it has a value where only the prediction and its probability are known."""
        read = self.expression.names if self.expression else ()
        return self.part != "probabilities" and not any(name.startswith(CLASS_SHARE) for name in read)

    def document(self, words: Table[str, Label]) -> dict[str, Any]:
        """JSON Schema of its values; `words` are the classes' names by their texts."""
        document = self._document(words) | ({"x-unit": self.unit.name} if self.unit else {})
        text = self.text or (self.expression.source if self.expression else "")
        return {**document, "description": text} if text else document

    def _document(self, words: Table[str, Label]) -> dict[str, Any]:
        number = {"type": "number"} if self.unit or self.digits is not None else SHARE
        if self.part == "prediction":
            return {"enum": list(words.values())}
        if self.part == "probabilities":
            texts = [class_text(word) for word in words.values()]
            properties = dict.fromkeys(texts, number)
            return {"type": "object", "required": texts, "properties": properties}
        if self.part is not None:
            return {"type": "object"} if self.part == "explanation" else number
        if self.expression is None:
            return {"const": self.value}
        kinds = {"number": "number", "text": "string", "boolean": "boolean"}
        return {"type": [kinds[str(self.expression.kind)], "null"]}


@dataclass(frozen=True)
class Mapping:
    """A mapping that fits `inside`, the model's schema.

    Features of the model are given by `fields`, by `constants` or by expressions over fields (`computed`).
    `words` are the classes as clients get them, by the model's texts for them. `answer` is None where the
    fields of answers are the usual ones. `digest` is the SHA-256 of the text.
    """

    inside: ModelSchema
    fields: tuple[Field, ...]
    constants: Table[str, Value]
    computed: Table[str, Expression]
    words: Table[str, Label]
    answer: tuple[AnswerField, ...] | None
    text: str = ""
    digest: str = field(default="", compare=False)

    def outside(self) -> ModelSchema:
        """What a client may send and gets, in the form of a model schema."""
        features = tuple(field.outside for field in self.fields)
        content: dict[str, Any] = {
            **self.inside.content,
            "classes": list(self.words.values()),
            "features": [_feature_item(feature) for feature in features],
        }
        told = {feature.name: feature.entry.to_dict() for feature in features if feature.entry != NO_ENTRY}
        entry = self.target_entry
        told |= {self.inside.target: entry.to_dict()} if entry != NO_ENTRY else {}
        content.pop("samples", None)  # in the model's terms, which a mapping cannot be read backwards into
        content.pop("dictionary", None)
        content |= {"dictionary": told} if told else {}
        if self.text:
            content["text"] = self.text
        if self.answer is not None:
            content["answer"] = self.answer_document()
        return ModelSchema(
            self.inside.model_name,
            self.inside.task,
            self.inside.target,
            tuple(self.words.values()),
            features,
            content,
            entry,
        )

    @property
    def target_entry(self) -> Entry:
        """What the dictionary says of the target, without the meanings of classes that get other names."""
        entry = self.inside.target_entry
        kept = {text for text, word in self.words.items() if class_text(word) == text}
        return replace(entry, decode=tuple(pair for pair in entry.decode if pair[0] in kept))

    def answer_document(self) -> dict[str, Any]:
        """JSON Schema of a row's answer, where it has fields of its own."""
        answer = self.answer or ()
        properties = {field.name: field.document(self.words) for field in answer}
        members = {"type": "array", "items": {"enum": list(self.words.values())}}
        properties.setdefault("prediction_set", {**members, "description": "If `coverage` was given."})
        required = [field.name for field in answer if field.part != "explanation" and field.by_explainer]
        if all(field.part != "explanation" for field in answer):
            explanation = next(f for f in ROW_FIELDS[self.inside.task] if f.name == "explanation")
            properties["explanation"] = {"type": "object", "description": f"{explanation.text}."}
        return {"type": "object", "required": required, "properties": properties}


def _feature_item(feature: Feature) -> dict[str, Any]:
    item: dict[str, Any] = {"name": feature.name, "type": feature.type, "nullable": feature.nullable}
    if feature.type == "string":
        item |= {"categories": list(feature.categories), "most_frequent": feature.most_frequent}
    elif feature.type == "text":
        item["terms"] = list(feature.terms)
    elif feature.type in DATE_TYPES:
        values = {"minimum": feature.minimum, "maximum": feature.maximum, "median": feature.median}
        item |= {key: date_text(value, feature.type) for key, value in values.items()}
    else:
        item |= {"minimum": feature.minimum, "maximum": feature.maximum, "median": feature.median}
    if feature.values != "learned":
        item["values"] = feature.values
    return {**item, "text": feature.text} if feature.text else item
