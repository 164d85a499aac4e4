"""Versions of every shape, to write in other formats: tables, forests and decisions from a seed."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline

from proto_model.formats import Source
from proto_model.model import Bundle, write_bundle
from proto_model.model.decision import PLAIN, Calibration, Decision
from proto_model.schema import Feature, ModelSchema
from proto_model.training.encoding import make_encoder
from proto_model.values import decode

KINDS = ("double", "tenths", "long", "boolean", "string", "levels", "date", "datetime")


def feature_of(kind: str, number: int) -> Feature:
    name = f'{kind} {number} (<&">)'
    match kind:
        case "string" | "levels":
            n_levels = 3 if kind == "string" else 25  # more than a one-hot encoder would take
            levels = tuple(sorted([f"level {place}" for place in range(n_levels - 1)] + ["a <b> & 'c'"]))
            return Feature(name, "string", True, levels, most_frequent=levels[0])
        case "date":
            return Feature(name, kind, True, minimum=-5_000.0, maximum=20_000.0, median=0.0)
        case "datetime":
            return Feature(name, kind, True, minimum=-9e7, maximum=1.7e9, median=0.0)
        case "boolean":
            return Feature(name, kind, True, minimum=0.0, maximum=1.0, median=0.0)
        case _:
            return Feature(
                name, "long" if kind == "long" else "double", True, minimum=-9.0, maximum=9.0, median=0.0
            )


def values_of(
    feature: Feature, kind: str, n_rows: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    match kind:
        case "string" | "levels":
            column = generator.integers(0, len(feature.categories or ()), n_rows).astype(float)
        case "boolean":
            column = generator.integers(0, 2, n_rows).astype(float)
        case "long":
            column = generator.integers(-9, 10, n_rows).astype(float)
        case "tenths":
            column = generator.integers(-90, 90, n_rows) / 10
        case "date" | "datetime":
            column = np.floor(generator.uniform(feature.minimum, feature.maximum, n_rows))
        case _:
            column = generator.normal(0, 3, n_rows)
    return np.where(generator.random(n_rows) < 0.15, np.nan, column)


def decision_of(n_classes: int, kind: str, generator: np.random.Generator) -> Decision:
    if kind == "plain":
        return PLAIN
    calibration = None
    if "calibrated" in kind:
        n_tables, n_entries = (1 if n_classes == 2 else n_classes), int(generator.integers(1, 8))
        x = tuple(
            np.sort(generator.choice(np.linspace(0, 1, 30), n_entries, replace=False))
            for _ in range(n_tables)
        )
        y = tuple(np.sort(generator.uniform(0.01, 0.99, n_entries)) for _ in range(n_tables))
        calibration = Calibration("isotonic", x, y)
    costs = None
    if "costs" in kind:
        costs = generator.integers(1, 6, (n_classes, n_classes)).astype(float)
        np.fill_diagonal(costs, 0.0)
    return Decision(calibration, costs)


def make_source(
    seed: int,
    kinds: tuple[str, ...],
    *,
    n_classes: int = 2,
    n_trees: int = 7,
    decision: str = "plain",
    categories: Any = "ordinal",
    numbers: Any = "as_is",
    target_type: Any = "string",
    depth: int | None = None,
    n_rows: int = 120,
    folder: Path | None = None,
) -> Source:
    generator = np.random.default_rng(seed)
    features = tuple(feature_of(kind, number) for number, kind in enumerate(kinds))
    classes: tuple[Any, ...] = {
        "string": tuple(f"class {place:02} <&>" for place in range(n_classes)),
        "long": tuple(range(3, 3 + n_classes)),
        "double": tuple(float(place) for place in range(n_classes)),
        "boolean": (False, True)[:n_classes],
    }[target_type]
    schema = ModelSchema("things", "kind", target_type, classes, features)
    matrix = np.column_stack(
        [values_of(feature, kind, n_rows, generator) for feature, kind in zip(features, kinds, strict=True)]
    )
    codes = generator.integers(0, len(classes), n_rows)
    codes[: len(classes)] = np.arange(len(classes))
    y = np.array(classes, dtype=object if target_type == "string" else None)[codes]
    forest = (RandomForestClassifier, ExtraTreesClassifier)[seed % 2](
        n_trees, max_depth=depth, random_state=seed % 1000
    )
    pipeline = Pipeline([("encode", make_encoder(schema, categories, numbers)), ("forest", forest)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn on classes with few members
        pipeline.fit(decode(matrix, schema), y)
    folder = folder or Path(tempfile.mkdtemp(prefix="proto_model-"))
    write_bundle(folder, pipeline, schema, matrix, decision=decision_of(n_classes, decision, generator))
    return Source(Bundle.load(folder))
