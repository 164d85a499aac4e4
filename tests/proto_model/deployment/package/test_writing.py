import csv
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from proto_model.deployment.package import PackageError
from proto_model.deployment.package.facts import VersionFacts
from proto_model.deployment.package.writing import example_rows, write_package
from proto_model.errors import ArtifactError
from proto_model.model import Bundle, Predictor, coded_rows, write_bundle
from proto_model.registry.publishing import PublicationError, Trust
from proto_model.table import encode
from proto_model.training.background import StoredBackground
from tests.proto_model.deployment.package.conftest import as_published
from tests.proto_model.registry.publishing.conftest import pair_in

TOP = {
    "MANIFEST.sha256",
    "README.md",
    "artifacts",
    "example.csv",
    "interface.py",
    "metadata.yaml",
    "requirements.txt",
    "setup.sh",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_package_holds_what_it_should_and_sha256sum_agrees(package, model):
    assert {path.name for path in package.iterdir()} == TOP
    expected = contents(model)
    del expected["registered_model_meta"]  # MLflow's own, of a download
    assert contents(package / "artifacts" / "model") == expected
    assert (package / "setup.sh").stat().st_mode & 0o111
    listed = (package / "MANIFEST.sha256").read_text().splitlines()
    assert len(listed) == len(contents(package)) - 1
    command = ["sha256sum", "-c", "--quiet", "--strict", "MANIFEST.sha256"]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_same_version_gives_the_same_bytes_and_no_place_or_host(package, model, tmp_path):
    elsewhere = shutil.copytree(model, tmp_path / "some" / "where" / "else")
    (elsewhere / "code" / "proto_model" / "__pycache__").mkdir()
    (elsewhere / "code" / "proto_model" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(
        b"left by a run"
    )
    again = write_package(str(elsewhere), tmp_path / "again")
    packed = [
        write_package(str(folder), tmp_path / name, as_zip=True)
        for folder, name in ((model, "a"), (elsewhere, "b.zip"))
    ]

    assert contents(again.path) == contents(package)
    assert [one.path.name for one in packed] == ["a.zip", "b.zip"]
    assert packed[0].path.read_bytes() == packed[1].path.read_bytes()
    assert len({one.digest for one in (again, *packed)}) == 1
    with zipfile.ZipFile(packed[0].path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(package)
    for name, content in contents(again.path).items():
        for secret in (str(tmp_path), str(model), str(Path.home()), socket.gethostname()):
            if len(secret) > 5:  # root's home is part of many words
                assert secret.encode() not in content, name
    assert {path.name for path in tmp_path.iterdir()} == {"some", "again", "a.zip", "b.zip"}


def test_metadata_says_what_the_model_takes_and_gives(package, mixed_data):
    metadata = yaml.safe_load((package / "metadata.yaml").read_text())

    assert list(metadata) == [
        *("name", "version", "description", "author", "created_date", "trained_on_data", "input_features"),
        *("output", "hyperparameters"),
    ]
    assert (metadata["name"], metadata["version"]) == ("people", "7")
    features = {feature["name"]: feature for feature in metadata["input_features"]}
    assert list(features) == mixed_data.schema.feature_names
    assert all(list(one) == ["name", "type", "description", "categories"] for one in features.values())
    assert features["job"]["categories"] == ["clerk", "farmer", "nurse", "pilot"]
    assert features["income"]["categories"] is None
    outputs = metadata["output"]
    assert [one["name"] for one in outputs] == ["prediction", "probability_no", "probability_yes"]
    assert all(list(one) == ["name", "type", "description", "format"] for one in outputs)
    assert outputs[0]["format"] == "one of: no, yes"


def test_the_expected_answers_are_those_of_the_predictor(package, bundle):
    header, *rows = csv.reader((package / "example.csv").read_text().splitlines())
    predictor = Predictor(Bundle.load(bundle))
    names = predictor.schema.feature_names
    records = [dict(zip(names, row, strict=False)) for row in rows]
    answer = predictor.answer(coded_rows(records, predictor.schema))

    assert header == [*names, "prediction", "probability_no", "probability_yes"]
    assert [row[len(names)] for row in rows] == [record["prediction"] for record in answer.records()]
    assert [[float(cell) for cell in row[-2:]] for row in rows] == answer.scores.tolist()


@pytest.fixture(scope="module")
def synthetic(mixed_data, mixed_pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "bundle"
    background = StoredBackground.of(mixed_data, "synthetic")
    write_bundle(folder, mixed_pipeline, mixed_data.schema, background.rows, background.kind)
    return Bundle.load(folder)


@pytest.mark.parametrize("kind", ["rows", "synthetic"])
def test_an_examples_rows_are_nobodys(kind, synthetic, forest_model, mixed_data, mixed_frame):
    bundle = synthetic if kind == "synthetic" else forest_model
    schema = bundle.schema
    rows = example_rows(bundle)
    coded = coded_rows([dict(zip(schema.feature_names, row, strict=True)) for row in rows], schema)
    trained = {tuple(row) for row in np.nan_to_num(encode(mixed_data.X_train, schema), nan=-1).tolist()}

    assert not {tuple(row) for row in np.nan_to_num(coded, nan=-1).tolist()} & trained
    assert len(rows) == 20
    if kind == "synthetic":
        assert set(bundle.decide(bundle.predict_proba(coded)).tolist()) == {0, 1}
        assert np.isnan(coded).any()


@pytest.mark.parametrize("as_zip", [False, True])
def test_nothing_that_is_there_is_replaced(as_zip, model, tmp_path):
    place = tmp_path / ("mine.zip" if as_zip else "mine")
    if as_zip:
        place.write_bytes(b"mine")
    else:
        place.mkdir()
        (place / "notes.txt").write_text("mine")

    with pytest.raises(PackageError, match="is there already"):
        write_package(str(model), tmp_path / "mine", as_zip=as_zip)

    assert list(tmp_path.iterdir()) == [place]


def test_what_is_no_model_leaves_nothing(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ArtifactError, match=r"holds no artifacts/bundle/schema\.json"):
        write_package(str(tmp_path / "model"), tmp_path / "out")
    with pytest.raises(ArtifactError, match="There is no folder"):
        write_package(str(tmp_path / "none"), tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def kept(model, tmp_path):
    """A published version's folder, its publication beside it, and the pair of keys."""
    pair = pair_in(tmp_path / "keys")
    return as_published(model, tmp_path / "version", pair.private), pair


def test_a_published_version_takes_its_publication_along(kept, tmp_path):
    folder, pair = kept
    trust = Trust.of(True, [pair.public_path])

    done = write_package(str(folder), tmp_path / "package", trust=trust)

    assert done.published
    kept_files = {path.name for path in (done.path / "artifacts" / "publication").iterdir()}
    assert kept_files == {"manifest.json", "signature.sigstore.json"}
    facts = VersionFacts.of_bytes((done.path / "artifacts" / "version.json").read_bytes())
    assert facts.title == "churn 3"


def test_a_published_version_that_was_changed_is_not_packaged(kept, tmp_path):
    folder, _ = kept
    (folder / "MLmodel").write_text("changed")

    with pytest.raises(PublicationError, match="'MLmodel' was changed"):
        write_package(str(folder), tmp_path / "package")

    assert not (tmp_path / "package").exists()


def test_a_version_that_is_not_published_is_refused_if_it_has_to_be(model, tmp_path):
    with pytest.raises(PublicationError, match="not published"):
        write_package(str(model), tmp_path / "package", trust=Trust(require_published=True))
