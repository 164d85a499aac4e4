"""A model of proto-model-turbo as a model source: which one is in its attachment.

`pip install -r requirements.txt` installs what it needs; to train, also "proto-model-turbo[train]".
"""

# modelop.schema.0: input.avsc
# modelop.schema.1: output.avsc

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

model: Any = None


# modelop.init
def begin() -> None:
    """Load the model of the attachment."""
    global model
    from proto_model.deployment.modelop import load_model

    model = load_model(Path.cwd())


# modelop.score
def action(record: Any) -> Iterator[Any]:
    """Give prediction and probabilities of a record."""
    yield model.score(record)


# modelop.metrics
def metrics(rows: Any) -> Iterator[Any]:
    """Say how good the model is on rows with labels."""
    yield model.metrics(rows)


# modelop.training
def train(rows: Any) -> Iterator[Any]:
    """Train it anew on rows with labels; outputDir gets an attachment for this source."""
    yield model.train(rows, Path("outputDir"))
