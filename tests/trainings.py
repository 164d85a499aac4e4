"""Trainings whose versions tests need, and not the process that made them.

Such versions have few trees, pictures of nothing, and not this package's modules beside them: making all that
takes most of a training's time, and over HTTP a request for each module.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest

from proto_model.cli.train import main
from proto_model.registry import logged_model, record, tracking
from proto_model.training import VARIANTS
from tests.stores import fresh_store

N_TREES = 20


@contextmanager
def few_trees() -> Iterator[None]:
    """Forests that are trained here meanwhile have few trees."""
    with pytest.MonkeyPatch.context() as patch:
        for variant in VARIANTS.values():
            assert isinstance(variant.defaults, dict)
            patch.setitem(variant.defaults, "n_estimators", N_TREES)
        yield


@contextmanager
def no_modules() -> Iterator[None]:
    """Versions that are logged here meanwhile hold an empty folder instead of this package's modules."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        modules = Path(folder, "no_modules")  # of another name: it hides no real ones from who loads it
        modules.mkdir()
        (modules / "__init__.py").touch()
        patch.setattr(logged_model, "proto_model", SimpleNamespace(__file__=str(modules / "__init__.py")))
        yield


@contextmanager
def light() -> Iterator[None]:
    """All that, and pictures of nothing."""
    with few_trees(), no_modules(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "save", lambda figure, path: Path(path).write_bytes(b""))
        yield


@contextmanager
def as_in(folder: Path, uri: str) -> Iterator[None]:
    """What this process does meanwhile, it does in a folder, on a store, as a command begun there would."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        for name, value in tracking._QUIET_VARIABLES.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_TRACKING_URI", "replaced below, and restored in the end")
        patch.chdir(folder)
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)


def trained_in(folder: Path, *arguments: str) -> str:
    """URI of a new store in a folder, after a training by the command, in this process: it has MLflow."""
    uri = fresh_store(folder)
    train_again(folder, uri, *arguments)
    return uri


def train_again(folder: Path, uri: str, *arguments: str) -> None:
    """The same, into a store that is there."""
    with as_in(folder, uri), light(), warnings.catch_warnings():
        warnings.simplefilter("default")  # outside of tests, those of MLflow and pandas are no errors
        assert main(["--n-candidates", "1", *arguments]) == 0
