"""From the text of a `mapping.yaml` to a checked mapping; every fault with its line and its key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping as Table
from dataclasses import replace
from typing import Any

from mapper.application.document import Path, read_document
from mapper.application.expression import Expression
from mapper.application.functions import Kind, spelled
from mapper.application.mapping import PARTS, AnswerField, Field, Mapping, Unit
from mapper.application.notes import Notes
from mapper.errors import shown, suggestion
from mapper.mapping.schema import Feature, Label, ModelSchema, Value, class_text
from mapper.mapping.values import LARGEST

VERSIONS = (1, 1.0, "1", "1.0")
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("double", "long"), "number"),
    "boolean": "boolean",
    **dict.fromkeys(("string", "date", "datetime", "text"), "text"),
}
TYPES = {"number": "double", "integer": "long", "boolean": "boolean", "text": "string"}
MAX_FIELDS = 2000
DIRECT = ("feature", "unit", "lookup", "otherwise", "default", "text")
TYPED = ("type", "choices", "minimum", "maximum", "optional", "default", "example", "text")


def read_mapping(text: bytes, schema: ModelSchema) -> Mapping:
    """The mapping in a text; raises MappingError, which lists what is wrong or does not fit the schema."""
    document = read_document(text)
    mapping = _Reader(document, schema).mapping()
    return replace(mapping, digest=hashlib.sha256(text).hexdigest())


class _Reader(Notes):
    """Reads the parts of one document, and notes what is wrong with them."""

    def mapping(self) -> Mapping:
        content = self.document.content
        parts = ("mapping", "text", "units", "request", "features", "answer")
        if not isinstance(content, dict):
            self.note((), f"{shown(content)} given, keys expected: {', '.join(parts)}")
            self.end()
        self.known_keys(content, (), parts)
        if content.get("mapping") not in VERSIONS or isinstance(content.get("mapping"), bool):
            self.note(("mapping",), "write `mapping: 1`, the version of this form")
        text = self.text(content, (), "text")
        for name, item in self.table(content, (), "units").items():
            self.attempt(self._unit, name, item)
        read = (self.attempt(self._field, *pair) for pair in self.table(content, (), "request").items())
        fields = [found for found in read if found is not None]
        given = self.table(content, (), "features")
        fields += self._unmentioned(fields, given)
        kinds = {found.name: KINDS[found.outside.type] for found in fields}
        constants: dict[str, Value] = {}
        computed: dict[str, Expression] = {}
        for name, item in given.items():
            self.attempt(self._feature, name, item, kinds, constants, computed)
        words, answer = self._answer(self.table(content, (), "answer"))
        self._check_features(fields, given)
        if self.faults:
            self.end()
        return Mapping(self.schema, tuple(fields), constants, computed, words, answer, text)

    # Units, fields, features.

    def _unit(self, name: str, item: Any) -> None:
        path: Path = ("units", name)
        keys = self.keys(item, path, ("factor", "offset"))
        factor = self.number(keys, path, "factor", None)
        offset = self.number(keys, path, "offset", 0.0)
        if factor <= 0:
            self.fail((*path, "factor"), f"{shown(factor)} given; it must be above 0. Use an expression.")
        self.units[name] = Unit(name, factor, offset)

    def _field(self, name: str, item: Any) -> Field:
        path: Path = ("request", name)
        self.check_name(path, name)
        if isinstance(item, str):
            item = {"feature": item}
        if isinstance(item, dict) and "type" in item:
            return self._typed_field(name, self.keys(item, path, TYPED), path)
        keys = self.keys(item, path, DIRECT)
        feature_name = keys.get("feature", name)
        feature = self.features.get(feature_name) if isinstance(feature_name, str) else None
        if feature is None:
            hint = "Give `feature`, or the `type` of a field that expressions read."
            self.fail(path, f"{self.no_feature(feature_name)} {hint}")
        text = self.text(keys, path, "text")
        if "unit" in keys and "lookup" in keys:
            self.fail(path, "give a unit or a lookup, not both")
        if "otherwise" in keys and "lookup" not in keys:
            self.fail(path, "`otherwise` is for a lookup")
        nullable = feature.nullable or "default" in keys
        entry = replace(feature.entry, description="") if text else feature.entry
        outside = replace(feature, name=name, nullable=nullable, text=text, entry=entry)
        field = Field(outside, feature.name)
        if "unit" in keys:
            field = self._converted(field, keys["unit"], feature, path)
        if "lookup" in keys:
            field = self._looked_up(field, keys, feature, path)
        return self._with_default(field, keys, path)

    def _converted(self, field: Field, unit_name: Any, feature: Feature, path: Path) -> Field:
        unit = self.unit_called(unit_name, path)
        if feature.type not in ("double", "long"):
            self.fail((*path, "unit"), f"{shown(feature.name)} is a {feature.type}, which has no unit")
        low, high, middle = map(unit.outward, (feature.minimum, feature.maximum, feature.median))
        text = ", ".join(filter(None, (f"in {unit.name}", field.outside.text)))
        outside = replace(field.outside, type="double", text=text, minimum=low, maximum=high, median=middle)
        # The dictionary's unit and stored values are the model's; those of this field are the client's.
        outside = replace(outside, entry=replace(outside.entry, unit="", decode=()))
        return replace(field, outside=outside, unit=unit)

    def _looked_up(self, field: Field, keys: dict[str, Any], feature: Feature, path: Path) -> Field:
        given = keys["lookup"]
        if not isinstance(given, dict) or not given:
            self.fail((*path, "lookup"), "a table expected: what a client sends, and what the model gets")
        table = {
            key: self.value_of(feature.name, value, (*path, "lookup", key)) for key, value in given.items()
        }
        if len({key.strip() for key in table} - {""}) < len(table):
            self.fail((*path, "lookup"), "a key is empty, or two differ in white space only")
        otherwise: Value = None
        if "otherwise" in keys:
            otherwise = self.value_of(feature.name, keys["otherwise"], (*path, "otherwise"))
            word = spelled(otherwise) if otherwise is not None else ""
            if word in table and table[word] != otherwise:
                message = f"{shown(word)} is also a word of the lookup that means {shown(table[word])}"
                self.fail((*path, "otherwise"), f"{message}; call that word something else")
        typical = next((key for key, value in table.items() if value == feature.typical), next(iter(table)))
        outside = Feature(
            field.name,
            "string",
            field.outside.nullable,
            tuple(key.strip() for key in table),
            most_frequent=typical.strip(),
            values="open" if "otherwise" in keys else "closed",
            text=field.outside.text,
            entry=replace(field.outside.entry, unit="", decode=()),
        )
        lookup = {key.strip(): value for key, value in table.items()}
        return replace(field, outside=outside, lookup=lookup, otherwise=otherwise)

    def _typed_field(self, name: str, keys: dict[str, Any], path: Path) -> Field:
        """A field that only expressions read."""
        kind = TYPES.get(keys["type"]) if isinstance(keys["type"], str) else None
        if kind is None:
            known = ", ".join(TYPES)
            self.fail((*path, "type"), f"{shown(keys['type'])} given, one of {known} expected")
        optional = keys.get("optional", False)
        if not isinstance(optional, bool):
            self.fail((*path, "optional"), f"{shown(optional)} given, true or false expected")
        allowed = {"string": ("choices",), "double": ("minimum", "maximum"), "long": ("minimum", "maximum")}
        for key in ("choices", "minimum", "maximum"):
            if key in keys and key not in allowed.get(kind, ()):
                self.fail((*path, key), f"not for the type {keys['type']}")
        low = self.number(keys, path, "minimum", -LARGEST)
        high = self.number(keys, path, "maximum", LARGEST)
        if low > high:
            self.fail((*path, "minimum"), f"{shown(low)} is above the maximum")
        choices = keys.get("choices", [])
        if not isinstance(choices, list) or ("choices" in keys and not choices):
            self.fail((*path, "choices"), "a list of texts expected")
        categories = tuple(dict.fromkeys(spelled(c).strip() for c in choices if c is not None))
        is_closed = bool(categories) or {"minimum", "maximum"} & keys.keys()
        outside = Feature(
            name,
            kind,
            optional or "default" in keys,
            categories,
            minimum=0.0 if kind == "boolean" else low,
            maximum=1.0 if kind == "boolean" else high,
            values="closed" if is_closed else "open",
            text=self.text(keys, path, "text"),
        )
        example = keys.get("example", keys.get("default", categories[0] if categories else None))
        if example is None and kind == "boolean":
            example = False
        if example is None:
            self.fail(path, "give an `example`, a typical value for the page and the documentation")
        example = self.read(outside, example, (*path, "example" if "example" in keys else "default"))
        typical: dict[str, Any] = (
            {"most_frequent": example} if kind == "string" else {"median": float(example)}
        )
        return self._with_default(Field(replace(outside, **typical)), keys, path)

    def _with_default(self, field: Field, keys: dict[str, Any], path: Path) -> Field:
        if "default" not in keys:
            return field
        default = self.read(field.outside, keys["default"], (*path, "default"))
        return replace(field, default=default)

    def _unmentioned(self, fields: list[Field], given: Table[str, Any]) -> list[Field]:
        """Features that the mapping does not speak of are fields of the same name."""
        taken = {field.feature for field in fields} | given.keys()
        names = {field.name for field in fields}
        left = [feature for feature in self.schema.features if feature.name not in taken]
        for feature in left:
            if feature.name in names:
                message = f"{shown(feature.name)} is another field's name and a feature that nothing gives"
                self.note(("request", feature.name), f"{message}; give it under `features`")
        return [Field(feature, feature.name) for feature in left if feature.name not in names]

    def _feature(
        self,
        name: str,
        item: Any,
        kinds: Table[str, Kind],
        constants: dict[str, Value],
        computed: dict[str, Expression],
    ) -> None:
        path: Path = ("features", name)
        if name not in self.features:
            self.fail(path, self.no_feature(name))
        keys = self.keys(item, path, ("value", "expression"))
        if len({"value", "expression"} & keys.keys()) != 1:
            self.fail(path, "give either `value` or `expression`")
        if "value" in keys:
            constants[name] = self.value_of(name, keys["value"], (*path, "value"))
            return
        expression = self.expression(keys["expression"], kinds, (*path, "expression"))
        kind = self.features[name].type
        fits = ("boolean", "number") if kind == "boolean" else (KINDS[kind],)
        if expression.kind not in fits:
            message = f"it gives a {expression.kind}, and the feature {shown(name)} is a {kind}"
            self.fail((*path, "expression"), message)
        computed[name] = expression

    def _check_features(self, fields: list[Field], given: Table[str, Any]) -> None:
        sources: dict[str, str] = {}
        for field in fields:
            if field.feature is None:
                continue
            other = "features" if field.feature in given else sources.get(field.feature)
            if other is not None:
                message = f"the feature {shown(field.feature)} is given twice, by {other} as well"
                self.note(("request", field.name), message)
            sources[field.feature] = field.name
            if field.name in given:
                message = f"{shown(field.name)} is also a feature, which `features` gives"
                self.note(("request", field.name), f"{message}; give the field another name")
        if not fields and not self.faults:
            self.note((), "requests have no field left; `features` gives all of them")
        if len(fields) > MAX_FIELDS:
            self.note(("request",), f"{len(fields)} fields; the limit is {MAX_FIELDS}")

    # Answers.

    def _answer(self, item: dict[str, Any]) -> tuple[dict[str, Label], tuple[AnswerField, ...] | None]:
        schema = self.schema
        words: dict[str, Label] = dict(zip(schema.class_texts, schema.classes, strict=True))
        self.known_keys(item, ("answer",), ("classes", "fields"))
        for text, word in self.table(item, ("answer",), "classes").items():
            path = ("answer", "classes", text)
            if text not in words:
                self.note(path, f"the model has no such class; {suggestion(text, words)}")
            elif not isinstance(word, str | int | float):
                self.note(path, f"{shown(word)} given, a text, a number or a truth value expected")
            else:
                words[text] = word
        texts = [class_text(word) for word in words.values()]
        if len(set(texts)) < len(texts):
            self.note(("answer", "classes"), "two classes get the same name")
        if "fields" not in item:
            return words, None
        kinds: dict[str, Kind] = {"prediction": _kind_of(words.values()), "probability": "number"}
        kinds |= {f"probability_{text}": "number" for text in texts}
        given = self.table(item, ("answer",), "fields")
        read = [self.attempt(self._answer_field, *pair, kinds) for pair in given.items()]
        if not given:
            self.note(("answer", "fields"), "at least one field expected")
        parts = [field.part for field in read if field is not None]
        if parts.count("explanation") > 1 or ("explanation" in given and "explanation" not in parts):
            self.note(("answer", "fields"), "`explanation` is the name of one field, the explanation")
        return words, tuple(field for field in read if field is not None)

    def _answer_field(self, name: str, item: Any, kinds: Table[str, Kind]) -> AnswerField:
        path: Path = ("answer", "fields", name)
        self.check_name(path, name)
        if isinstance(item, str):
            item = {"from": item}
        keys = self.keys(item, path, ("from", "value", "expression", "unit", "digits", "text"))
        if len({"from", "value", "expression"} & keys.keys()) != 1:
            self.fail(path, "give one of `from`, `value` and `expression`")
        field = AnswerField(name, text=self.text(keys, path, "text"))
        is_number = False
        if "from" in keys:
            if keys["from"] not in PARTS:
                known = ", ".join(PARTS)
                self.fail((*path, "from"), f"{shown(keys['from'])} given, one of {known} expected")
            field = replace(field, part=keys["from"])
            is_number = keys["from"] in ("probability", "probabilities")
        elif "value" in keys:
            if isinstance(keys["value"], dict | list):
                self.fail((*path, "value"), "a text, a number, true, false or null expected")
            field = replace(field, value=keys["value"])
        else:
            expression = self.expression(keys["expression"], kinds, (*path, "expression"))
            field = replace(field, expression=expression)
            is_number = expression.kind == "number"
        if not is_number and ("unit" in keys or "digits" in keys):
            self.fail(path, "`unit` and `digits` are for numbers")
        if "unit" in keys:
            field = replace(field, unit=self.unit_called(keys["unit"], path))
        digits = keys.get("digits")
        if digits is not None and (type(digits) is not int or not 0 <= digits <= 10):
            self.fail((*path, "digits"), f"{shown(digits)} given, a whole number from 0 to 10 expected")
        return replace(field, digits=digits)


def _kind_of(labels: Any) -> Kind:
    kinds: set[Kind] = {
        "boolean" if isinstance(label, bool) else "text" if isinstance(label, str) else "number"
        for label in labels
    }
    return kinds.pop() if len(kinds) == 1 else "text"
