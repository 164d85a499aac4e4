"""What `model.bin` holds of a version: its forest, schema and decision, and what explanations begin with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto_model.deployment.browser.container import packed
from proto_model.deployment.browser.normal import normal_tables
from proto_model.explanation.lore import LoreExplainer
from proto_model.explanation.unfolded import UnfoldedModel, Unfolding
from proto_model.forest.expansion import EXPANSION_FILE, Expansion
from proto_model.forest.file import read_nodes
from proto_model.forest.leaves import ENTRY, LAST_ENTRY
from proto_model.forest.nodes import ForestNodes
from proto_model.model import Bundle
from proto_model.model.decision import DECISION_FILE
from proto_model.model.kinds import FOREST_FILE
from proto_model.parameters import ROWS, parameters_of
from proto_model.schema import ModelSchema

_ENGINE = "engine"  # the parameter that chooses another library, which no browser has

Arrays = dict[str, NDArray[Any]]


def model_bytes(bundle: Bundle, about: Mapping[str, Any]) -> bytes:
    """The file of a bundle; `about` is what the page says of the version."""
    nodes, _ = read_nodes(bundle.folder / FOREST_FILE)
    arrays = _forest(nodes)
    expansion = bundle.folder / EXPANSION_FILE
    if expansion.exists():
        arrays |= _expansion(Expansion.load(expansion, bundle.schema))
    knowledge, plain = _knowledge(bundle)
    arrays |= knowledge
    decision = bundle.folder / DECISION_FILE
    head = {
        "about": {**about, "bundle": bundle.digest, "background": bundle.background_kind},
        "schema": bundle.schema.to_dict(),
        "plain": None if plain is bundle.schema else plain.to_dict(),
        "probability_columns": bundle.schema.probability_columns,
        "decision": json.loads(decision.read_text(encoding="utf-8")) if decision.exists() else {},
        "parameters": _parameters(),
        "n_trees": nodes.n_trees,
        "n_inputs": nodes.n_features,
    }
    return packed(head, arrays)


def _forest(nodes: ForestNodes) -> Arrays:
    """Nodes as a walk wants them: slot and left child apart, counted from the first node of all."""
    n_used, bits = len(nodes.columns), nodes.feature_bits
    feature = nodes.slot & (1 << bits) - 1
    is_leaf = feature == n_used
    missing_left = nodes.slot >> bits != 0
    shift = np.repeat(nodes.tree_start[:-1], np.diff(nodes.tree_start))
    places = np.ascontiguousarray(nodes.nodes["threshold"]).view(np.uint32)  # of leaves
    arrays: Arrays = {
        "columns": nodes.columns.astype(np.int32),
        "tree_start": nodes.tree_start.astype(np.int32),
        "threshold": np.where(is_leaf, np.float32(0), nodes.nodes["threshold"]).astype(np.float32),
        # Of missing values that go left, there is a second slot, with minus infinity in their place.
        "slot": np.where(is_leaf, -1, feature + n_used * missing_left).astype(np.int32),
        "left": np.where(is_leaf, places, nodes.left + shift).astype(np.int32),
    }
    if nodes.leaves.dtype != ENTRY:
        return arrays | {"leaves": nodes.leaves}
    labels = nodes.leaves["label"]
    is_last = labels >= LAST_ENTRY
    signed = np.where(is_last, -1 - (labels & LAST_ENTRY - 1).astype(np.int64), labels).astype(np.int32)
    return arrays | {"leaves": np.ascontiguousarray(nodes.leaves["share"]), "labels": signed}


def _expansion(expansion: Expansion) -> Arrays:
    """Arrays of an expansion, with whole numbers in 32 bits."""
    return {
        f"expansion_{name}": array.astype(np.int32 if array.dtype == np.int64 else np.float64)
        for name, array in expansion.arrays().items()
    }


def _knowledge(bundle: Bundle) -> tuple[Arrays, ModelSchema]:
    """What the engine of explanations knows before it sees a row, and the schema that it works on.

    All of it comes from the background. What a browser works out to the same bits, such as the pool's rows,
    does not go along.
    """
    schema, rows = bundle.schema, bundle.background
    asked = bundle.decision_scores if bundle.decision.costs is not None else bundle.predict_proba
    synthetic = bundle.background_kind == "synthetic"
    if any(feature.terms is not None for feature in schema.features):
        unfolding = Unfolding(schema)
        model = UnfoldedModel(asked, unfolding)
        lore = LoreExplainer(unfolding.plain, unfolding.unfold(rows), model, synthetic)
    else:
        lore = LoreExplainer(schema, rows, asked, synthetic)
    background, knowledge = lore.background, lore.knowledge()
    wi, ki = normal_tables()
    arrays: Arrays = {
        "background": background.matrix,
        "low": background.low,
        "high": background.high,
        "scale": background.scale,
        "gap": knowledge.values.gap,
        "sensitive": background.sensitive.astype(np.uint8),
        "read": knowledge.pool.read.astype(np.uint8),
        "normal_wi": wi,
        "normal_ki": ki,
    }
    lists = {"cuts": background.cuts, "known": knowledge.values.known, "tried": knowledge.values.tried}
    for name, parts in lists.items():
        arrays[name] = np.concatenate(parts)
        arrays[f"{name}_start"] = np.cumsum([0, *map(len, parts)]).astype(np.int32)
    return arrays, background.schema


def _parameters() -> list[dict[str, Any]]:
    """What may be asked of rows, from the table that every entry point shares."""
    return [
        {**dataclasses.asdict(one), "is_list": one.is_list, "expected": one.expected}
        for one in parameters_of(ROWS)
        if one.name not in (_ENGINE, "explain")
    ]
