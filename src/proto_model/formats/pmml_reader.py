"""Answers of a PMML document, read back as any evaluator would: verification needs no Java.

It knows the elements that `proto_model.formats.pmml` writes, and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from proto_model.formats.pmml import NAMESPACE, label_text
from proto_model.formats.rows import Rows
from proto_model.formats.source import Source
from proto_model.formats.verdict import Answers

Floats = NDArray[np.float64]
Element = ElementTree.Element


def run_pmml(content: bytes, source: Source, rows: Rows) -> Answers:
    """Labels and probabilities of a document that this process has written."""
    document = ElementTree.fromstring(content)
    fields: dict[str, NDArray[Any]] = {feature.name: values for feature, values in rows.columns()}
    decision = document.find(f".//{_tag('RegressionModel')}")
    behind = [] if decision is None else list(decision.iter(_tag("DerivedField")))
    for derived in document.iter(_tag("DerivedField")):
        if derived not in behind:
            fields[derived.attrib["name"]] = _value(derived[0], fields, len(rows))
    labels = [label_text(label) for label in source.schema.classes]
    trees = list(document.iter(_tag("TreeModel")))
    total = np.zeros((len(rows), len(labels)))
    for tree in trees:
        root = tree.find(_tag("Node"))
        assert root is not None
        _walk(root, fields, labels, total)
    shares = total / len(trees)
    if decision is None:
        return shares.argmax(axis=1), shares
    names = [one.attrib["name"] for one in decision.findall(f"{_tag('MiningSchema')}/*")]
    fields |= dict(zip(names[1:], shares.T, strict=True))
    for derived in behind:
        fields[derived.attrib["name"]] = _value(derived[0], fields, len(rows))
    scores = [fields[one.attrib["name"]] for one in decision.iter(_tag("NumericPredictor"))]
    _, *outputs = decision.findall(f"{_tag('Output')}/*")
    probabilities = np.column_stack([_value(one[0], fields, len(rows)) for one in outputs])
    return np.column_stack([score / sum(scores) for score in scores]).argmax(axis=1), probabilities


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _walk(root: Element, fields: Mapping[str, NDArray[Any]], labels: list[str], total: Floats) -> None:
    """Add the shares of the leaf that each row reaches."""
    waiting = [(root, np.arange(len(total)))]
    while waiting:
        node, rows = waiting.pop()
        children = node.findall(_tag("Node"))
        if not children:
            shares = {
                one.attrib["value"]: one.attrib["probability"] for one in node.iter(_tag("ScoreDistribution"))
            }
            total[rows] += [float(shares[label]) for label in labels]
            continue
        left, right = children
        test = left.find(_tag("SimplePredicate"))
        assert test is not None
        values = fields[test.attrib["field"]][rows]
        goes_left = values <= float(test.attrib["value"])
        if node.attrib["defaultChild"] == left.attrib["id"]:
            goes_left |= np.isnan(values)
        waiting += [(left, rows[goes_left]), (right, rows[~goes_left])]


def _value(element: Element, fields: Mapping[str, NDArray[Any]], n_rows: int) -> NDArray[Any]:
    """Values of an expression; a missing number is NaN."""
    kind = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    if kind == "FieldRef":
        return fields[element.attrib["field"]]
    if kind == "Constant":
        return np.full(n_rows, float(element.text or ""))
    if kind == "MapValues":
        return _mapped(element, fields)
    if kind == "NormContinuous":
        return _interpolated(element, fields[element.attrib["field"]])
    values = [_value(child, fields, n_rows) for child in element]
    match element.attrib["function"]:
        case "isMissing":
            return np.asarray(np.isnan(values[0]))
        case "if":
            return np.where(values[0], values[1], values[2])
        case "-":
            return np.asarray(values[0] - values[1])
        case "+":
            return np.asarray(values[0] + values[1])
        case "*":
            return np.asarray(values[0] * values[1])
        case _:
            return np.asarray(values[0] / values[1])


def _mapped(element: Element, fields: Mapping[str, NDArray[Any]]) -> Floats:
    pair = element.find(_tag("FieldColumnPair"))
    assert pair is not None
    table = {
        row.findtext(_tag("level")) or "": float(row.findtext(_tag("number")) or "")
        for row in element.iter(_tag("row"))
    }
    missing, unseen = (float(element.attrib.get(name, "nan")) for name in ("mapMissingTo", "defaultValue"))
    texts = fields[pair.attrib["field"]].tolist()
    return np.array([missing if text is None else table.get(text, unseen) for text in texts])


def _interpolated(element: Element, values: Floats) -> Floats:
    x, y = (np.array([float(one.attrib[key]) for one in element]) for key in ("orig", "norm"))
    place = np.searchsorted(x, values, side="right").clip(1, len(x) - 1) - 1
    share = (values - x[place]) / (x[place + 1] - x[place])
    found: Floats = y[place] + share.clip(0, 1) * (y[place + 1] - y[place])
    return found
