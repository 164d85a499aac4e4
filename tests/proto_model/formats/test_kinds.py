"""Every format answers what the version answers, or is refused with the reason."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto_model.formats import FORMATS, written
from tests.proto_model.formats.sources import KINDS, make_source

pytest.importorskip("onnxruntime", reason="The extra proto-model-turbo[formats] is not installed")

PLAIN_KINDS = tuple(kind for kind in KINDS if not kind.startswith("date"))


@st.composite
def sources(draw, kinds=KINDS, decisions=("plain", "calibrated", "costs", "calibrated costs")):
    target_type = draw(st.sampled_from(["string", "long", "double", "boolean"]))
    n_classes = 2 if target_type == "boolean" else draw(st.integers(2, 5))
    return dict(
        seed=draw(st.integers(0, 2**32 - 1)),
        kinds=tuple(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))),
        n_classes=n_classes,
        n_trees=draw(st.integers(1, 9)),
        decision=draw(st.sampled_from(decisions)),
        categories=draw(st.sampled_from(["ordinal", "target", "frequency", "one_hot"])),
        numbers=draw(st.sampled_from(["as_is", "median"])),
        target_type=target_type,
        depth=draw(st.sampled_from([None, 1, 3])),
    )


def checked(name, given_source):
    with tempfile.TemporaryDirectory() as folder:
        source = make_source(**given_source, folder=Path(folder, "bundle"))
        held_out = source.bundle.background[:50]
        return written(FORMATS[name], source, held_out)


@given(sources())
@settings(max_examples=15)
def test_an_onnx_graph_answers_to_the_last_bit_what_the_version_answers(given_source):
    _, verdict = checked("onnx", given_source)

    assert (verdict.labels_that_differ, verdict.largest_difference) == (0, 0)
    assert (verdict.rows, verdict.held_out) == (2050, 50)


@given(sources(PLAIN_KINDS))
@settings(max_examples=10)
def test_a_pmml_document_answers_what_the_version_answers(given_source):
    _, verdict = checked("pmml", given_source)

    assert verdict.labels_that_differ == 0
    # Lines between the entries of a calibration are computed otherwise.
    assert verdict.largest_difference <= (0 if given_source["decision"] in ("plain", "costs") else 1e-14)


@given(sources(PLAIN_KINDS, ("plain",)))
@settings(max_examples=8)
def test_treelite_answers_what_the_version_answers(given_source):
    _, verdict = checked("treelite", given_source | {"categories": "ordinal", "numbers": "as_is"})

    assert (verdict.labels_that_differ, verdict.largest_difference) == (0, 0)


@pytest.mark.parametrize("name", ["skops", "sklearn", "pickle"])
@given(sources())
@settings(max_examples=3)
def test_an_estimator_answers_to_the_last_bit_what_the_version_answers(name, given_source):
    _, verdict = checked(name, given_source)

    assert (verdict.labels_that_differ, verdict.largest_difference) == (0, 0)
