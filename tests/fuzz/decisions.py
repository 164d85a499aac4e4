"""What decides: dates as both sides read them, `decision.json`, and the gates of a comparison."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from mapper.mapping import dates as mapper_dates
from proto_model import dates
from proto_model.errors import ArtifactError, InputError
from proto_model.model.decision import DECISION_FILE, Decision
from proto_model.registry.promotion.gates import parse_gates
from proto_model.schema import date_text
from tests.fuzz.rows import is_told

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS = np.array([[0.3, 0.7], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])


def date(data: bytes) -> None:
    """A text that may be a date."""
    text = data.decode("utf-8", "surrogateescape")
    seconds = dates.seconds_in(text)
    assert mapper_dates.seconds_in(text) == seconds
    if seconds is None:
        return
    assert dates.seconds_in(date_text(float(seconds), "datetime")) == seconds
    assert dates.seconds_of((_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)) == seconds


def decision_json(data: bytes) -> None:
    """`decision.json` of two classes; what is accepted gives probabilities, a class and sets."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / DECISION_FILE).write_bytes(data)
        try:
            decision = Decision.read(Path(folder), 2)
        except ArtifactError as error:
            is_told(error)
            return
    probabilities = decision.calibrated(_ROWS)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    scores = decision.scores(probabilities)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    decided = decision.decide(probabilities)
    if decision.sets is not None:
        for coverage in (0.5, 0.9, 0.999):
            sets = decision.prediction_sets(probabilities, ["no", "yes"], coverage)
            assert all(["no", "yes"][k] in labels for k, labels in zip(decided, sets, strict=True))


def gates(data: bytes) -> None:
    """Gates of each kind from one text; each is read again from its own text."""
    text = data.decode("utf-8", "replace")
    for kind in ("metric", "group", "no_worse"):
        try:
            found = parse_gates([text], kind)  # type: ignore[arg-type]  # one of the kinds
        except InputError as error:
            is_told(error)
            continue
        assert parse_gates([gate.text for gate in found], kind) == found  # type: ignore[arg-type]
