import json

import pytest

from mapper.cli.main import main
from tests.mapper.application.conftest import MAPPING
from tests.mapper.application.test_code import CODE


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(MAPPING)
    return path


def test_a_mapping_that_fits_is_shown_and_written(mapping, schema_path, tmp_path, capsys):
    out = tmp_path / "out" / "mapper"

    assert main(["mapping", "check", str(mapping), "--schema", str(schema_path), "--out", str(out)]) == 0

    said = capsys.readouterr().out
    assert "weight" in said
    assert "mass" not in said
    example = {"data": {"weight": 4000.0, "site": "BI", "laid": 2, "lost": 1}}
    assert json.loads(said.partition("for example: ")[2].splitlines()[0]) == example
    assert (out / "mapping.yaml").read_text() == MAPPING


def test_a_mapping_that_does_not_fit_ends_with_2_and_is_not_written(mapping, schema_path, tmp_path, capsys):
    mapping.write_text(MAPPING.replace("feature: mass", "feature: mas"))

    assert (
        main(["mapping", "check", str(mapping), "--schema", str(schema_path), "--out", str(tmp_path / "o")])
        == 2
    )

    assert (
        "line 8, request.weight: the model has no feature 'mas'. Did you mean 'mass'?"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "o").exists()


def test_a_class_is_run_on_its_own_example_and_packed_with_its_manifest(schema_path, tmp_path, capsys):
    source = tmp_path / "penguins.py"
    source.write_text(CODE.replace("from . import words", "words = None"))
    command = [
        "mapping",
        "check",
        f"{source}:Penguins",
        "--schema",
        str(schema_path),
        "--out",
        str(tmp_path / "o"),
    ]

    assert main(command) == 0
    assert "sha256" in capsys.readouterr().out
    assert json.loads((tmp_path / "o" / "code.json").read_text()) == {
        "class": "penguins:Penguins",
        "files": ["penguins.py"],
    }
    source.write_text(source.read_text().replace('"mass": grams / 1000', '"mass": "x"'))
    assert main(command) == 2
    assert "row 0, mass: 'x' given, a number expected" in capsys.readouterr().err
    source.write_text(source.read_text().replace('tango_request["data"]', 'tango_request["date"]'))
    assert main(command) == 2
    assert "KeyError: 'date'" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(schema_path, tmp_path, capsys):
    for name in ("mapping.yaml", "model.py:Own", "mapping.txt"):
        assert main(["mapping", "check", str(tmp_path / name), "--schema", str(schema_path)]) == 2
        assert name.partition(":")[0] in capsys.readouterr().err
