"""Trainings whose versions tests need, and not the process that made them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest

from proto_model.cli.train import main
from proto_model.registry import tracking
from tests.stores import fresh_store


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
    with as_in(folder, uri), warnings.catch_warnings():
        warnings.simplefilter("default")  # outside of tests, those of MLflow and pandas are no errors
        assert main(["--n-candidates", "1", *arguments]) == 0
