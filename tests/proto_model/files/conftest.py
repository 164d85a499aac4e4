"""A model whose answers can be worked out by hand, and ways to score bytes with it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from proto_model.files import Scored, Task, score
from proto_model.files.stream import Spool
from proto_model.files.transfer import FileSettings
from proto_model.model import Decision
from proto_model.parameters import Parameters
from proto_model.schema import Feature, ModelSchema

SCHEMA = ModelSchema(
    "people",
    "class",
    "string",
    ("no", "yes"),
    (
        Feature("size", "double", True, minimum=0.0, maximum=1.0, median=0.5),
        Feature("age", "long", False, minimum=0.0, maximum=90.0, median=40.0),
        Feature("job", "string", True, categories=("clerk", "pilot"), most_frequent="clerk"),
        Feature("owner", "boolean", True, minimum=0.0, maximum=1.0, median=0.0),
    ),
)


class SumModel:
    """Predicts `yes` with the share that the row's sum, missing values left out, has of 100."""

    schema = SCHEMA
    decision = Decision()

    def predict_proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        assert np.isfinite(np.nan_to_num(matrix)).all()
        yes = np.clip(np.nansum(matrix, axis=1) / 100, 0, 1)
        return np.column_stack([1 - yes, yes])


class Scorer:
    """Scores bytes as if they were a file called `name`."""

    def __init__(self, settings: FileSettings) -> None:
        self.settings = settings

    def __call__(
        self,
        data: bytes,
        name: str = "file",
        settings: FileSettings | None = None,
        explain_with: Callable[[NDArray[np.float64]], list[dict[str, Any]]] | None = None,
        **params: Any,
    ) -> tuple[bytes, Scored]:
        settings = settings or self.settings
        with tempfile.TemporaryFile(buffering=0) as file, tempfile.TemporaryFile(buffering=0) as source:
            source.write(data)
            source.seek(0)
            spool = Spool(file, settings.max_output_bytes)
            task = Task(SumModel(), Parameters.from_params(params), settings, explain_with)
            scored = score(source, name, spool, task)
            file.seek(0)
            return file.read(), scored


@pytest.fixture(scope="session")
def schema() -> ModelSchema:
    return SCHEMA


@pytest.fixture(scope="session")
def model() -> SumModel:
    return SumModel()


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return Scorer(FileSettings())
