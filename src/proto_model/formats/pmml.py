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
from proto_model.formats.pmml_decision import decision_fields, decision_model, probability_fields
from proto_model.formats.pmml_expressions import apply, constant, derived, field
from proto_model.formats.source import Source
from proto_model.formats.steps import level_table
from proto_model.formats.trees import Tree
from proto_model.model.decision import Decision
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
    if has_decision(source.decision):
        names += decision_fields(_share_names(source))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArtifactError(
            f"No PMML document of this version: {twice[0]!r} is the name of a column and of another field. "
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
    target = f'<MiningField name={quoteattr(schema.target)} usageType="target"/>\n'
    if not has_decision(source.decision):
        yield from _forest(source, target, _output(source, []))
    else:
        shares = _share_names(source)
        yield f'<MiningModel functionName="classification">\n{_mining_schema(source, target)}'
        yield '<Segmentation multipleModelMethod="modelChain">\n<Segment id="forest"><True/>\n'
        yield from _forest(source, "", _shares(source, shares))
        yield '</Segment>\n<Segment id="decision"><True/>\n'
        names = list(map(label_text, schema.classes))
        output = _output(source, probability_fields(shares))
        yield from decision_model(source.decision, schema.target, names, shares, output)
        yield "</Segment>\n</Segmentation>\n</MiningModel>\n"
    yield "</PMML>\n"


def has_decision(decision: Decision) -> bool:
    """Whether a version answers something else than its forest's shares."""
    return decision.calibration is not None or decision.costs is not None


def _share_names(source: Source) -> list[str]:
    return [f"share of {label_text(label)}" for label in source.schema.classes]


def _forest(source: Source, target: str, output: str) -> Iterator[str]:
    """Model of the forest, with what comes before it."""
    yield f'<MiningModel functionName="classification">\n{_mining_schema(source, target)}{output}'
    fields = _field_names(source)
    made = [_derived(source, column, name) for column, name in fields.items()]
    if any(made):
        yield "<LocalTransformations>\n" + "".join(made) + "</LocalTransformations>\n"
    yield '<Segmentation multipleModelMethod="average">\n'
    for number, tree in enumerate(source.trees.trees, start=1):
        yield from _segment(source, number, tree, fields)
    yield "</Segmentation>\n</MiningModel>\n"


def _mining_schema(source: Source, target: str) -> str:
    fields = "".join(
        f'<MiningField name={quoteattr(name)} invalidValueTreatment="asIs"/>\n'
        for name in source.schema.feature_names
    )
    return f"<MiningSchema>\n{target}{fields}</MiningSchema>\n"


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
    return derived(name, inner)


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
    own = field(name)
    is_missing = apply("isMissing", own)
    if step.op is Op.IS_MISSING:
        return apply("if", is_missing, constant(1.0), constant(0.0))
    if step.op is Op.FILL:
        return apply("if", is_missing, constant(step.value), own)
    first, second = map(constant, step.table[:2])
    inner, outer = ("-", "/") if step.op is Op.SHIFTED else ("*", "+")
    scaled = apply(outer, apply(inner, own, first), second)
    return scaled if len(step.table) == 2 else apply("if", is_missing, constant(step.table[2]), scaled)


def _output(source: Source, probabilities: Sequence[str]) -> str:
    """Label and probabilities: those of the fields, if there are any, else the model's own."""
    label, *by_class = pmml_outputs(source)
    parts = [
        f'<OutputField name="{label}" optype="categorical" dataType="{_target_type(source)}" '
        'feature="predictedValue"/>\n'
    ]
    for place, (name, value) in enumerate(zip(by_class, source.schema.classes, strict=True)):
        start = f'<OutputField name={quoteattr(name)} optype="continuous" dataType="double" '
        if probabilities:
            parts.append(f'{start}feature="transformedValue">{field(probabilities[place])}</OutputField>\n')
        else:
            parts.append(f'{start}feature="probability" value={quoteattr(label_text(value))}/>\n')
    return f"<Output>\n{''.join(parts)}</Output>\n"


def _shares(source: Source, names: Sequence[str]) -> str:
    """The forest's probabilities, for the model behind it alone."""
    fields = "".join(
        f'<OutputField name={quoteattr(name)} optype="continuous" dataType="double" feature="probability" '
        f'value={quoteattr(label_text(label))} isFinalResult="false"/>\n'
        for name, label in zip(names, source.schema.classes, strict=True)
    )
    return f"<Output>\n{fields}</Output>\n"


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
        name = quoteattr(fields[column[node]])
        value = min(threshold[node], _LARGEST)
        test = f'<SimplePredicate field={name} operator="{{}}" value="{value!r}"/>'
        waiting += [
            (-1, ""),
            (right[node], test.format("greaterThan")),
            (left[node], test.format("lessOrEqual")),
        ]
