"""A version as PMML 4.4: one document with what comes before the forest, and the forest.

Fields are compared as doubles, with thresholds that make up for scikit-learn's rounding (`trees`); a missing
value goes where its node's `defaultChild` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from proto_model.errors import ArtifactError
from proto_model.forest.expansion import Op, Step
from proto_model.formats.plain import refuse_decision
from proto_model.formats.source import Source
from proto_model.formats.steps import level_table
from proto_model.formats.trees import Tree
from proto_model.schema import Feature, Label

NAMESPACE = "http://www.dmg.org/PMML-4_4"
_DATA_TYPES = {"string": "string", "boolean": "boolean", "long": "integer", "double": "double"}
_LARGEST = float(np.finfo(np.float64).max)


def write_pmml(source: Source) -> bytes:
    """The document of a version; an ArtifactError says why there can be none."""
    _check(source)
    return "".join(_document(source)).encode()


def pmml_outputs(source: Source) -> list[str]:
    """Names of the outputs: label, and the probability of each class."""
    return ["prediction", *source.schema.probability_columns]


def label_text(label: Label) -> str:
    """A label as it stands in the document."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _check(source: Source) -> None:
    schema = source.schema
    refuse_decision(source, "PMML document")
    for feature in schema.features:
        if feature.type not in ("double", "long", "boolean", "string"):
            raise ArtifactError(
                f"No PMML document of this version: its feature {feature.name!r} is a {feature.type}, which "
                f"this release writes into no PMML. {'Take onnx.' if feature.type != 'text' else ''}".strip()
            )
    texts = [schema.target, *schema.feature_names, *map(label_text, schema.classes)]
    texts += [level for feature in schema.features for level in feature.categories or ()]
    for text in texts:
        if any(ord(sign) < 32 or sign in "\ufffe\uffff" for sign in text) or text != text.strip():
            raise ArtifactError(
                f"No PMML document of this version: {text!r} has characters, or spaces at an end, that XML "
                "does not keep."
            )
    names = [schema.target, *schema.feature_names, *pmml_outputs(source)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArtifactError(
            f"No PMML document of this version: {twice[0]!r} is the name of a column and of an output. "
            "Rename the column and train again."
        )


def _document(source: Source) -> Iterator[str]:
    schema = source.schema
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<PMML xmlns="{NAMESPACE}" version="4.4">\n'
    yield '<Header><Application name="proto_model_turbo"/></Header>\n<DataDictionary>\n'
    yield from (_data_field(feature) for feature in schema.features)
    labels = "".join(f"<Value value={quoteattr(label_text(label))}/>" for label in schema.classes)
    kind = _target_type(source)
    yield (
        f'<DataField name={quoteattr(schema.target)} optype="categorical" dataType="{kind}">{labels}'
        "</DataField>\n</DataDictionary>\n"
    )
    yield '<MiningModel functionName="classification">\n<MiningSchema>\n'
    yield f'<MiningField name={quoteattr(schema.target)} usageType="target"/>\n'
    yield from (
        f'<MiningField name={quoteattr(name)} invalidValueTreatment="asIs"/>\n'
        for name in schema.feature_names
    )
    yield "</MiningSchema>\n"
    yield from _output(source)
    fields = _field_names(source)
    derived = [_derived(source, column, name) for column, name in fields.items()]
    if any(derived):
        yield "<LocalTransformations>\n" + "".join(derived) + "</LocalTransformations>\n"
    yield '<Segmentation multipleModelMethod="average">\n'
    for number, tree in enumerate(source.trees.trees, start=1):
        yield from _segment(source, number, tree, fields)
    yield "</Segmentation>\n</MiningModel>\n</PMML>\n"


def _target_type(source: Source) -> str:
    """Type of the labels; whole numbers that a table has as 1.0 stay what they are."""
    if source.schema.target_type == "long" and not all(type(one) is int for one in source.schema.classes):
        return "double"
    return _DATA_TYPES[source.schema.target_type]


def _data_field(feature: Feature) -> str:
    if not feature.takes_numbers:
        return f'<DataField name={quoteattr(feature.name)} optype="categorical" dataType="string"/>\n'
    return (
        f'<DataField name={quoteattr(feature.name)} optype="continuous" dataType="double">'
        '<Value value="NaN" property="missing"/></DataField>\n'
    )


def _field_names(source: Source) -> dict[int, str]:
    """Field of each column of the forest: the feature itself, or one that is derived from it."""
    taken = {source.schema.target, *source.schema.feature_names, *pmml_outputs(source)}
    names = {}
    for column in source.trees.columns:
        step = source.steps[column]
        feature = source.schema.features[step.source]
        name = feature.name
        if step.op is not Op.IDENTITY or feature.categories is not None:
            name = f"{feature.name} {step.op.name.lower()} {column}"
            while name in taken:
                name += "_"
            taken.add(name)
        names[column] = name
    return names


def _derived(source: Source, column: int, name: str) -> str:
    step = source.steps[column]
    feature = source.schema.features[step.source]
    if name == feature.name:
        return ""
    inner = _levels(step, feature) if feature.categories is not None else _expression(step, feature.name)
    return (
        f'<DerivedField name={quoteattr(name)} optype="continuous" dataType="double">{inner}</DerivedField>\n'
    )


def _levels(step: Step, feature: Feature) -> str:
    """Table from the levels of a category to numbers; what is not in it is missing or unseen."""
    levels = feature.categories or ()
    *numbers, rest = level_table(step, len(levels)).tolist()
    if any(map(math.isnan, numbers)) and not math.isnan(rest):
        raise ArtifactError(
            f"No PMML document of this version: a level of {feature.name!r} is missing to the forest, and "
            "an unknown one is not. PMML cannot say that. Take onnx."
        )
    rows = "".join(
        f"<row><level>{escape(level)}</level><number>{number!r}</number></row>"
        for level, number in zip(levels, numbers, strict=True)
        if not math.isnan(number)
    )
    others = "" if math.isnan(rest) else f' mapMissingTo="{rest!r}" defaultValue="{rest!r}"'
    return (
        f'<MapValues outputColumn="number" dataType="double"{others}>'
        f'<FieldColumnPair field={quoteattr(feature.name)} column="level"/>'
        f"<InlineTable>{rows}</InlineTable></MapValues>"
    )


def _expression(step: Step, name: str) -> str:
    """How a column of the forest comes from a number."""
    field = f"<FieldRef field={quoteattr(name)}/>"
    is_missing = _apply("isMissing", field)
    if step.op is Op.IS_MISSING:
        return _apply("if", is_missing, _constant(1.0), _constant(0.0))
    if step.op is Op.FILL:
        return _apply("if", is_missing, _constant(step.value), field)
    first, second = map(_constant, step.table[:2])
    inner, outer = ("-", "/") if step.op is Op.SHIFTED else ("*", "+")
    scaled = _apply(outer, _apply(inner, field, first), second)
    return scaled if len(step.table) == 2 else _apply("if", is_missing, _constant(step.table[2]), scaled)


def _apply(function: str, *arguments: str) -> str:
    return f'<Apply function="{function}">{"".join(arguments)}</Apply>'


def _constant(value: float) -> str:
    return f'<Constant dataType="double">{value!r}</Constant>'


def _output(source: Source) -> Iterator[str]:
    label, *by_class = pmml_outputs(source)
    yield "<Output>\n"
    yield (
        f'<OutputField name="{label}" optype="categorical" dataType="{_target_type(source)}" '
        'feature="predictedValue"/>\n'
    )
    for name, value in zip(by_class, source.schema.classes, strict=True):
        yield (
            f'<OutputField name={quoteattr(name)} optype="continuous" dataType="double" '
            f'feature="probability" value={quoteattr(label_text(value))}/>\n'
        )
    yield "</Output>\n"


def _segment(source: Source, number: int, tree: Tree, fields: dict[int, str]) -> Iterator[str]:
    names = sorted({fields[column] for column in tree.column.tolist() if column >= 0})
    yield (
        f'<Segment id="{number}"><True/><TreeModel functionName="classification" '
        'missingValueStrategy="defaultChild" splitCharacteristic="binarySplit"><MiningSchema>'
    )
    yield from (f"<MiningField name={quoteattr(name)}/>" for name in names)
    yield "</MiningSchema>\n"
    leaves = [label_text(label) for label in source.schema.classes]
    yield from _nodes(source, tree, fields, list(map(quoteattr, leaves)))
    yield "</TreeModel></Segment>\n"


def _nodes(source: Source, tree: Tree, fields: dict[int, str], labels: Sequence[str]) -> Iterator[str]:
    """Nodes of a tree, each before its children; without recursion, since trees may be deep."""
    columns = (tree.column, tree.threshold, tree.left, tree.right, tree.missing_left, tree.leaf)
    column, threshold, left, right, missing_left, leaf = (array.tolist() for array in columns)
    shares = source.trees.shares
    waiting: list[tuple[int, str]] = [(0, "<True/>")]
    while waiting:
        node, predicate = waiting.pop()
        if node < 0:
            yield "</Node>\n"
            continue
        if leaf[node] >= 0:
            own = shares[leaf[node]]
            parts = zip(labels, own.tolist(), strict=True)
            distribution = "".join(
                f'<ScoreDistribution value={label} recordCount="{share!r}" probability="{share!r}"/>'
                for label, share in parts
            )
            best = labels[int(own.argmax())]
            yield f'<Node id="{node}" score={best}>{predicate}{distribution}</Node>\n'
            continue
        default = left[node] if missing_left[node] else right[node]
        yield f'<Node id="{node}" defaultChild="{default}">{predicate}\n'
        field = quoteattr(fields[column[node]])
        value = min(threshold[node], _LARGEST)
        test = f'<SimplePredicate field={field} operator="{{}}" value="{value!r}"/>'
        waiting += [
            (-1, ""),
            (right[node], test.format("greaterThan")),
            (left[node], test.format("lessOrEqual")),
        ]
