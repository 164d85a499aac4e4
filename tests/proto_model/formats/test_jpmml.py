"""Documents are what JPMML takes them for, the evaluator that most products with PMML use."""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from proto_model.formats.pmml import label_text, write_pmml
from proto_model.formats.rows import Rows, made_rows
from tests.environments import environment
from tests.proto_model.formats.sources import make_source

pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")

SOURCES = {
    "plain": dict(seed=1, kinds=("double", "tenths", "string", "boolean", "long"), n_trees=20),
    "ties": dict(seed=4, kinds=("boolean", "string", "boolean"), n_trees=4, n_classes=3, target_type="long"),
    "columns": dict(
        seed=5, kinds=("double", "levels", "string", "long"), n_classes=4, numbers="median",
        categories="target", target_type="boolean",
    ) | {"n_classes": 2},
    "calibrated": dict(seed=11, kinds=("double", "string"), decision="calibrated"),
    "costs": dict(seed=12, kinds=("tenths", "string"), decision="costs"),
    "both": dict(seed=13, kinds=("double", "long"), decision="calibrated costs", n_classes=4),
    "both_of_two": dict(seed=14, kinds=("boolean", "string"), n_trees=4, decision="calibrated costs"),
    "one_hot": dict(seed=6, kinds=("string", "tenths"), categories="one_hot", target_type="double"),
}  # fmt: skip


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """Sources, rows and JPMML's answers, by name; one process of Java for all."""
    folder = tmp_path_factory.mktemp("pmml")
    found = {}
    for name, options in SOURCES.items():
        source = make_source(**options, folder=folder / name)
        rows = Rows.of(source.schema, source.bundle.background) + made_rows(
            source, source.bundle.background, 400
        )
        (folder / f"{name}.pmml").write_bytes(write_pmml(source))
        table = {
            feature.name: [None if value is None or value != value else value for value in values.tolist()]
            for feature, values in rows.columns()
        }
        (folder / f"{name}.json").write_text(json.dumps(table))
        found[name] = (source, rows)
    programs = environment("jpmml", "jpmml-evaluator==0.16.0", "jpype1", "pandas<4")
    program = Path(__file__).with_name("jpmml.py")
    done = subprocess.run(
        [programs / "python", program, folder],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {
        name: (*pair, json.loads((folder / f"{name}.answers.json").read_text()))
        for name, pair in found.items()
    }


@pytest.mark.parametrize("name", SOURCES)
def test_jpmml_answers_what_the_version_answers(answered, name):
    source, rows, answers = answered[name]
    places, probabilities = source.answers(rows.matrix)
    theirs = np.column_stack([answers[column] for column in source.schema.probability_columns])

    np.testing.assert_allclose(theirs, probabilities, rtol=0, atol=1e-15)
    labels = [label_text(source.schema.classes[place]) for place in places]
    for column in ("prediction", source.schema.target):
        assert list(map(label_text, answers[column])) == labels
    assert not any(math.isnan(value) for value in theirs.ravel())
