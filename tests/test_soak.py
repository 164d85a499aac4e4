"""The soak finds what it looks for: errors without a cause, wrong answers, growth."""

from __future__ import annotations

import json
import random
import time
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.soak.clients import Steady
from scripts.soak.record import Record, Sample, markdown, slope_per_hour, summary
from scripts.soak.wire import Reply

ANSWERS = [{"prediction": "a", "probability": 0.7, "probability_a": 0.7, "probability_b": 0.3}]
OTHERS = [{"prediction": "b", "probability": 0.6, "probability_a": 0.4, "probability_b": 0.6}]


def test_an_error_has_a_cause_only_if_something_disturbed_its_part_meanwhile() -> None:
    record = Record()
    before = time.monotonic()
    record.failed("a client", "500", before, ["rows"])
    with record.disturbing("SIGKILL", "rows"):
        record.failed("a client", "reset", before, ["rows"])
        record.failed("a client", "reset", before, ["files"])
    record.failed("a client", "reset", time.monotonic() + 60, ["rows"])

    content = summary(record)

    assert content["expected_errors"] == [["a client", "reset", "SIGKILL", 1]]
    assert content["unexpected_errors"] == [["a client", "500", 1], ["a client", "reset", 2]]
    assert "**3 unexpected errors**" in markdown(content)


@pytest.fixture
def steady() -> Steady:
    versions = [SimpleNamespace(answers=ANSWERS * 2), SimpleNamespace(answers=OTHERS * 2)]
    stage: Any = SimpleNamespace(models=SimpleNamespace(versions=versions))
    return Steady(stage, Record(), random.Random(0))


def complaint(steady: Steady, kind: str, content: Any, n_rows: int) -> str:
    reply = Reply(200, {}, json.dumps(content).encode())
    return steady._complaint(kind, reply, list(range(n_rows)), False, "me")


def test_an_answer_is_right_if_all_of_it_is_what_one_version_says(steady: Steady) -> None:
    off = [{**ANSWERS[0], "probability": 0.7000000000000001}]

    assert complaint(steady, "invocations", {"predictions": ANSWERS * 2}, 2) == ""
    assert complaint(steady, "invocations", {"predictions": OTHERS * 2}, 2) == ""
    assert complaint(steady, "invocations", {"predictions": ANSWERS + OTHERS}, 2)
    assert complaint(steady, "invocations", {"predictions": ANSWERS}, 2)
    assert complaint(steady, "invocations", {"predictions": off}, 1)
    assert complaint(steady, "invocations", {"predictions": [5]}, 1)


def test_an_answer_to_another_request_is_wrong(steady: Steady) -> None:
    outputs = [{"name": name, "data": [value]} for name, value in ANSWERS[0].items()]

    assert complaint(steady, "v2", {"id": "me", "outputs": outputs}, 1) == ""
    assert complaint(steady, "v2", {"id": "you", "outputs": outputs}, 1) == "the answer to you came to me"


def test_growth_is_that_of_processes_and_not_of_their_exchange() -> None:
    def samples(pid: int, level: float, per_s: float) -> list[tuple[Sample, float]]:
        ages = [10.0 * i for i in range(30)]
        return [(Sample("worker", pid, age, 0, None), level + per_s * age) for age in ages]

    flat = samples(1, 5, 0) + samples(2, 50, 0)
    growing = samples(1, 5, 0.5) + samples(2, 50, 0.5)

    assert slope_per_hour(*map(list, zip(*flat, strict=True)), 20) == pytest.approx(0)  # type: ignore[arg-type]
    assert slope_per_hour(*map(list, zip(*growing, strict=True)), 20) == pytest.approx(1800)  # type: ignore[arg-type]
    assert slope_per_hour([flat[0][0]], [5.0], 0) is None
