"""A model for files out of one for rows; that it serves, the tests of the demo and of README show."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.file_model import main

pytestmark = pytest.mark.system


def test_a_folder_that_is_no_model_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letters").write_text("keep")

    assert main(["--model", "models:/any@champion", "--out", str(tmp_path)]) == 1

    assert "exists and is not a model" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_a_folder_without_a_bundle_is_said_in_a_sentence_and_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "MLmodel").write_text("of before")

    assert main(["--model", str(tmp_path), "--out", str(tmp_path / "out")]) == 1

    assert "as a model schema" in capsys.readouterr().err
    assert (tmp_path / "out" / "MLmodel").read_text() == "of before"
