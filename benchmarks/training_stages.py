"""CPU seconds that each stage of a training takes, as JSON: for `training.py`.

A stage is what its functions take, without what they call of another stage.

Example: python benchmarks/training_stages.py --dataset wine
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LAST_FITS = "the best of each variant, fitted again"
REST = "logging to MLflow, reading the data"
STAGES: dict[str, tuple[str, ...]] = {  # functions where their callers look them up
    "imports": (),
    "search": (
        "training.selection.cross_validation:held_out_votes",
        "training.selection.cross_validation:folds",
    ),
    "models beside the forests": ("training.selection.search:judged_references",),
    LAST_FITS: ("training.selection.search:_result",),
    "evaluation": ("registry.training_run:judge",),
    "plots": ("registry.record:save",),
    "bundles": ("registry.logged_model:write_bundle",),
    "models' folders": ("registry.logged_model:save_model",),
    "explanation figures": ("registry.record:log_example_explanations",),
    "registry": ("registry.training_run:_register", "registry.training_run:_register_explainer"),
    REST: (),
}

_seconds = dict.fromkeys(STAGES, 0.0)
_adding = threading.Lock()
_threads = threading.local()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count what this thread does inside for a stage, and not for the one around it."""
    around = getattr(_threads, "stage", None)
    _count_for(name)
    try:
        yield
    finally:
        _count_for(around)


def _count_for(name: str | None) -> None:
    """End the stage at hand and begin another."""
    now = time.thread_time()
    before = getattr(_threads, "stage", None)
    if before is not None:
        with _adding:
            _seconds[before] += now - _threads.since
    _threads.stage, _threads.since = name, now


def _timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with stage(name):
            return function(*args, **kwargs)

    return timed


def main(argv: list[str]) -> int:
    """Train in this folder with a clock at each stage."""
    with stage("imports"):
        from proto_model.cli import train
        from proto_model.registry.tracking import quiet_mlflow

        quiet_mlflow()
        importlib.import_module("proto_model.registry.training_run")
        importlib.import_module("skops.io")
    for name, places in STAGES.items():
        for place in places:
            module_name, _, function = place.partition(":")
            module = importlib.import_module(f"proto_model.{module_name}")
            setattr(module, function, _timed(name, getattr(module, function)))
    with stage(REST):
        code = train.main(argv)
    # These fits start threads of their own, the only ones that are in no stage.
    _seconds[LAST_FITS] += time.process_time() - sum(_seconds.values())
    print(json.dumps(_seconds))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
