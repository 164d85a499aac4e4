"""What a format has no place for is refused, and the sentence says what to do."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from proto_model.errors import ArtifactError, InputError
from proto_model.formats import FORMATS, Source, format_of, written
from proto_model.formats.libraries import library
from proto_model.formats.pmml import write_pmml
from proto_model.formats.trees import greatest_left
from proto_model.model import Bundle
from tests.proto_model.formats.sources import make_source
from tests.proto_model.model.mutations import make_bundles


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as found:
        yield Path(found, "bundle")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "treelite",
            {"decision": "calibrated"},
            "it calibrates probabilities, for which treelite has no place",
        ),
        ("treelite", {"decision": "calibrated costs"}, "it calibrates probabilities and weighs costs"),
        ("pmml", {"kinds": ("double", "date")}, r"its feature 'date 1 .*' is a date, .* Take onnx"),
        ("treelite", {"numbers": "median"}, "does not see the column 'double 0 .*' as it is"),
    ],
)
def test_the_reason_is_named(folder, name, options, message):
    source = make_source(1, **({"kinds": ("double", "string")} | options), folder=folder)
    with pytest.raises(ArtifactError, match=message):
        FORMATS[name].write(source)


def test_words_of_a_text_are_in_no_graph(folder):
    pytest.importorskip("onnx", reason="The extra proto-model-turbo[formats] is not installed")
    make_bundles(folder)
    source = Source(Bundle.load(folder / "many"))
    with pytest.raises(ArtifactError, match="feature 'note' is a text whose words count"):
        FORMATS["onnx"].write(source)


@pytest.mark.parametrize("level", ["bell \x07", " padded", "tab\tinside"])
def test_a_level_that_xml_does_not_keep_is_refused(folder, level):
    source = make_source(1, ("string",), folder=folder)
    feature = source.schema.features[0]
    levels = (level, *(feature.categories or ())[1:])
    object.__setattr__(
        source.bundle, "schema", replace(source.schema, features=(replace(feature, categories=levels),))
    )
    with pytest.raises(ArtifactError, match="XML does not keep"):
        write_pmml(source)


def test_a_format_that_answers_otherwise_is_not_added(folder):
    source = make_source(1, ("double", "string"), folder=folder)

    def flipped(content, source, rows):
        labels, probabilities = source.answers(rows.matrix)
        return np.where(np.arange(len(rows)) == 7, 1 - labels, labels), probabilities

    kind = replace(FORMATS["skops"], run=flipped)
    with pytest.raises(ArtifactError, match="answers otherwise than the version: 1 of 2,000 labels differ"):
        written(kind, source, None)


def test_a_library_that_is_missing_is_named_with_the_extra():
    with pytest.raises(ArtifactError, match=r'needs nowhere, .* pip install "proto-model-turbo\[formats\]"'):
        library("nowhere.at_all", "onnx")
    with pytest.raises(InputError, match=r"There is no format 'h5'\. There are 'onnx'"):
        format_of("h5")


def test_a_double_goes_left_exactly_if_its_float32_does():
    largest = np.finfo(np.float32).max
    edges = np.array(
        [0.0, -0.0, 1e-45, -1e-45, 0.1, 1.0, -1.0, 16_777_216.0, largest, -largest, np.inf, -np.inf],
        np.float32,
    )
    at = greatest_left(edges)
    with np.errstate(over="ignore"):
        assert (at.astype(np.float32) <= edges).all()
        above = np.nextafter(at, np.inf)[at < np.inf]
        assert (above.astype(np.float32) > edges[at < np.inf]).all()


def test_a_feature_may_not_have_the_name_of_a_field_of_the_document(folder):
    source = make_source(1, ("double",), decision="costs", folder=folder)
    feature = replace(source.schema.features[0], name="share of class 01 <&>")
    object.__setattr__(source.bundle, "schema", replace(source.schema, features=(feature,)))
    with pytest.raises(ArtifactError, match="'share of class 01 <&>' is the name of a column and of another"):
        write_pmml(source)
