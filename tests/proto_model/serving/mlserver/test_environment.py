import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from proto_model.serving.mlserver import environment
from proto_model.serving.mlserver.environment import MLServerEnvironmentError, programs, unmet


@pytest.fixture
def requirements(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text(f"numpy=={version('numpy')}\n")
    return file


@pytest.fixture
def uv(tmp_path, monkeypatch):
    """A stand-in for uv in another environment: writes down what it was asked, and can fail."""
    folder = tmp_path / "here"
    folder.mkdir()
    uv = folder / "uv"
    uv.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        'for folder; do :; done\n[ "$1" = pip ] || mkdir -p "$folder"\n'
    )
    uv.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr(environment, "BELOW", (9, 0))  # for any Python that the tests run on
    return uv


def test_what_is_missing_or_of_another_version_is_unmet(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text(
        f"# comment\nnumpy=={version('numpy')}\npytest<1\nno-such-package\n"
        "no-such-other; python_version < '3'\n"
    )

    assert unmet([file]) == ["pytest<1", "no-such-package"]


def test_an_environment_is_made_once_for_the_same_requirements(requirements, uv, tmp_path):
    build = tmp_path / "build"

    first = programs(requirements, build)
    assert programs(requirements, build) == first
    requirements.write_text("numpy==1\n")
    assert programs(requirements, build) != first

    assert first.parent.parent == build / ".mlserver"
    made, filled, *others = (tmp_path / "asked").read_text().splitlines()
    assert made == f"venv --quiet --python {sys.executable} {first.parent}"
    assert filled.endswith(f"-r {requirements} -r {environment.MLSERVER_REQUIREMENTS}")
    assert len(others) == 2


def test_an_environment_that_failed_is_said_and_tried_again(requirements, uv, tmp_path):
    good = uv.read_text()
    uv.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(MLServerEnvironmentError, match="uv failed"):
        programs(requirements, tmp_path)
    uv.write_text(good)

    assert programs(requirements, tmp_path).name == "bin"


def test_this_environment_is_taken_if_it_fits(requirements, monkeypatch, tmp_path):
    here = tmp_path / "bin"
    here.mkdir()
    (here / "mlserver").touch()
    monkeypatch.setattr(sys, "executable", str(here / "python"))
    monkeypatch.setattr(environment, "MLSERVER_REQUIREMENTS", requirements)
    monkeypatch.setattr(environment, "BELOW", (9, 0))

    assert programs(requirements, tmp_path / "build") == here
    assert not (tmp_path / "build").exists()


def test_a_python_that_mlserver_does_not_know_is_said(requirements, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14))

    with pytest.raises(MLServerEnvironmentError, match=r"needs a Python below 3\.14"):
        programs(requirements, Path("build"))
