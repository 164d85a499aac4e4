"""A version in a browser's engine: the same bits, decisions, verdicts and explanations as everywhere."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from proto_model.deployment.browser.container import packed
from proto_model.deployment.browser.model import model_bytes
from proto_model.errors import InputError
from proto_model.forest.file import read_nodes
from proto_model.model import Bundle, Predictor, coded_rows
from tests.proto_model.carriers import CASES, FEATURES, GOOD, SCHEMA
from tests.proto_model.test_entry_points import check, expected_of

BUNDLES = ("forest_model", "decided", "dated", "many_classes")


def hard_rows(bundle: Bundle, n_rows: int = 3000, seed: int = 0) -> np.ndarray:
    """Rows of the background with values at thresholds and one bit beside them, missing ones, extremes."""
    rng = np.random.default_rng(seed)
    rows = bundle.background[rng.integers(0, len(bundle.background), n_rows)]
    nodes, _ = read_nodes(bundle.folder / "forest.npz")
    thresholds = nodes.nodes["threshold"].astype(np.float64)
    at = rng.choice(thresholds, rows.shape)
    near = np.nextafter(at, rng.choice([-np.inf, np.inf], rows.shape))
    extremes = rng.choice(
        [0.0, -0.0, 5e-324, 1e-45, 3.4028234663852886e38, -3.4028234663852886e38, 1e30], rows.shape
    )
    takes_numbers = np.array([feature.type == "double" for feature in bundle.schema.features])
    dice = rng.random(rows.shape)
    rows = np.where(takes_numbers & (dice < 0.25), at, rows)
    rows = np.where(takes_numbers & (dice > 0.25) & (dice < 0.4), near, rows)
    rows = np.where(takes_numbers & (dice > 0.4) & (dice < 0.45), extremes, rows)
    return np.where(dice > 0.9, np.nan, rows)


@pytest.mark.parametrize("name", BUNDLES)
def test_probabilities_and_decisions_are_the_engines_to_the_last_bit(name, engine_of, request):
    bundle = request.getfixturevalue(name)
    X, n_classes = hard_rows(bundle), len(bundle.schema.classes)
    wanted = bundle.predict_proba(X)

    engine = engine_of(bundle)
    found = engine.probabilities(X, n_classes)

    assert found.tobytes() == wanted.tobytes()
    decided = engine.ask("predict", X=str(engine.folder / "X"), out=str(engine.folder / "p"))["decided"]
    assert decided == bundle.decide(wanted).tolist()


@pytest.mark.parametrize("name", ["decided", "dated"])
@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95, 0.999])
def test_prediction_sets_hold_the_same_classes(name, coverage, engine_of, request):
    bundle = request.getfixturevalue(name)
    rows = bundle.background[:60]
    records = [dict(zip(bundle.schema.feature_names, row, strict=True)) for row in as_json(bundle, rows)]
    predictor = Predictor(bundle)
    wanted = predictor.answer(
        coded_rows(records, bundle.schema), predictor.parameters({"coverage": coverage})
    )

    found = engine_of(bundle).ask("answer", records=records, parameters={"coverage": coverage})

    assert found == json.loads(json.dumps(wanted.records()))


def as_json(bundle: Bundle, rows: np.ndarray) -> list[list]:
    """Coded rows as values of JSON."""
    from proto_model.registry.logged_model import sent_rows

    frame = sent_rows(rows, bundle.schema)
    listed = frame.astype(object).itertuples(index=False, name=None)
    return [[None if value is None or value != value else value for value in row] for row in listed]


def test_coverage_of_a_version_without_sets_is_refused_in_the_same_words(forest_model, engine_of):
    predictor = Predictor(forest_model)
    with pytest.raises(InputError) as refused:
        predictor.parameters({"coverage": 0.9})
    record = dict(
        zip(
            forest_model.schema.feature_names,
            as_json(forest_model, forest_model.background[:1])[0],
            strict=True,
        )
    )

    found = engine_of(forest_model).told("answer", records=[record], parameters={"coverage": 0.9})

    assert found == {"error": str(refused.value)}


OPTIONS = (
    {},
    {"effort": "thorough", "seed": 7},
    {"max_counterfactuals": 0},
    {"max_counterfactuals": 8, "mutable_features": "all"},
    {"immutable_features": "first", "increase_only": "numbers"},
)


@pytest.mark.parametrize("name", BUNDLES)
def test_explanations_are_those_of_the_server_word_for_word(name, engine_of, request):
    bundle = request.getfixturevalue(name)
    names = bundle.schema.feature_names
    numbers = [f.name for f in bundle.schema.features if f.type in ("double", "long")]
    groups = {"all": names, "first": names[:1], "numbers": numbers}
    options = [
        {key: groups.get(value, value) if isinstance(value, str) else value for key, value in one.items()}
        for one in OPTIONS
    ]
    rows = bundle.background[:: len(bundle.background) // 7][:7].copy()
    rows[0, np.array([feature.nullable for feature in bundle.schema.features])] = np.nan
    asked = [*zip(rows, options, strict=False), (rows[5], {}), (rows[6], {"seed": 3})]
    predictor = Predictor(bundle)
    wanted = [
        predictor.explain(row[np.newaxis], predictor.parameters({"explain": True, **given}))[0]
        for row, given in asked
    ]

    sent = [{"row": nulls(row[np.newaxis])[0], "parameters": given} for row, given in asked]
    found = engine_of(bundle).ask("explain", asked=sent)

    assert found == json.loads(json.dumps(wanted))
    assert [list(one["feature_importances"]) for one in found] == [
        list(one["feature_importances"]) for one in wanted
    ]


def nulls(rows: np.ndarray) -> list[list]:
    return [[None if math.isnan(value) else value for value in row] for row in rows.tolist()]


def one_leaf(schema) -> bytes:
    """A model of a schema that gives every row the same: what it makes of values is all that counts."""
    head = {
        "about": {"background": "synthetic"}, "schema": schema.to_dict(), "plain": None, "decision": {},
        "parameters": [], "n_trees": 1, "n_inputs": len(schema.features),
        "probability_columns": schema.probability_columns,
    }  # fmt: skip
    one = np.array([0], dtype=np.int32)
    arrays = {
        "columns": one, "tree_start": np.array([0, 1], dtype=np.int32), "threshold": np.zeros(1, np.float32),
        "slot": np.array([-1], dtype=np.int32), "left": one, "leaves": np.array([[0.5, 0.5]]),
    }  # fmt: skip
    return packed(head, arrays)


def test_every_case_of_the_rule_book_has_its_verdict(engine_of):
    """`schemas/cases/values.json`, as every other entry point is held to it."""
    cases = [case for case in CASES["cases"] if not isinstance(case["value"], (list, dict))]
    records = [{**GOOD, case["feature"]: case["value"]} for case in cases]

    found = engine_of(one_leaf(SCHEMA)).ask("code", records=records)

    for case, outcome in zip(cases, found, strict=True):
        place = SCHEMA.feature_names.index(case["feature"])
        said = next((fault for fault in outcome["faults"] if fault["feature"] == case["feature"]), None)
        bits = outcome["bits"][place]
        code = math.nan if bits == "nan" else np.uint64(int(bits, 16)).view(np.float64)
        message = None if said is None else f"column {said['feature']!r}: {said['message']}"
        check(case["feature"], message or float(code), *expected_of(case))
    assert len(cases) > 100


def test_a_fault_is_told_in_the_servers_words(engine_of):
    texts = [
        "old",
        "1e999",
        "3.5",
        " NA ",
        "",
        "0x10",
        "1_000",
        "true",
        "2024-02-30",
        "\u00a0",
        "x" * 60,
        "12:00",
        "½",
    ]
    records = [{**GOOD, name: text} for name in FEATURES for text in texts]
    found = engine_of(one_leaf(SCHEMA)).ask("code", records=records)

    for record, outcome in zip(records, found, strict=True):
        said = []
        try:
            coded_rows([record], SCHEMA)
        except InputError as error:
            said = str(error).splitlines()[1:]
        assert [f"row 0, column {one['feature']!r}: {one['message']}" for one in outcome["faults"]] == said


def test_a_damaged_model_is_refused(forest_model, engine_of):
    content = bytearray(model_bytes(forest_model, {}))
    content[-100] ^= 1
    damaged = engine_of(bytes(content)).told("explain", asked=[])
    other = engine_of(model_bytes(forest_model, {})).told("explain", asked=[], digest="0" * 64)
    cut = engine_of(bytes(content[:30])).told("explain", asked=[])

    assert (
        damaged
        == other
        == {"error": "The model is damaged: its SHA-256 does not fit. Export the version again."}
    )
    assert "not a model.bin" in cut["error"]


def test_the_same_bundle_gives_the_same_bytes(forest_model):
    assert model_bytes(forest_model, {}) == model_bytes(Bundle.load(forest_model.folder), {})
