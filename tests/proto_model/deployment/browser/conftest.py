"""Versions as pages, and their engine in Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from proto_model.deployment.browser.model import model_bytes
from proto_model.deployment.browser.pages import engine_text
from proto_model.model import Bundle, Decision, write_bundle
from proto_model.model.decision import Calibration, PredictionSets
from proto_model.table import RawTable, encode, prepare
from proto_model.training import make_pipeline

NODE = shutil.which("node")
DRIVER = Path(__file__).parents[3] / "browser_engine.mjs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Node.js, what needs an engine is left out."""
    mark = pytest.mark.skip(reason="no node on PATH; on Debian: apt-get install nodejs")
    for item in items:
        if NODE is None and "engine_of" in getattr(item, "fixturenames", ()):
            item.add_marker(mark)


@dataclass(frozen=True)
class Engine:
    """A model.bin and the engine.mjs beside it."""

    folder: Path

    def ask(self, task: str, **request: Any) -> Any:
        """Result of a task; an AssertionError with the engine's error."""
        answer = self.told(task, **request)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def told(self, task: str, **request: Any) -> Any:
        done = subprocess.run(
            [str(NODE), DRIVER, self.folder / "engine.mjs", self.folder / "model.bin"],
            input=json.dumps({"task": task, **request}), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def probabilities(self, X: np.ndarray, n_classes: int) -> np.ndarray:
        np.ascontiguousarray(X, dtype=np.float64).tofile(self.folder / "X")
        self.ask("predict", X=str(self.folder / "X"), out=str(self.folder / "p"))
        return np.fromfile(self.folder / "p").reshape(len(X), n_classes)


@pytest.fixture(scope="session")
def engine_of(tmp_path_factory):
    """Function that makes an engine of a bundle, or of the bytes of a model.bin."""

    def made(model: Bundle | bytes) -> Engine:
        folder = tmp_path_factory.mktemp("engine")
        content = (
            model if isinstance(model, bytes) else model_bytes(model, {"title": "people", "model": "people"})
        )
        (folder / "model.bin").write_bytes(content)
        (folder / "engine.mjs").write_text(engine_text(), encoding="utf-8")
        return Engine(folder)

    return made


def bundle_of(frame: pd.DataFrame, folder: Path, *, n_trees: int = 15, decide=None) -> Bundle:
    """Bundle of a forest fitted on a frame, whose last column is predicted."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    data = prepare(RawTable("table", "table.parquet", table), frame.columns[-1])
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=n_trees)
    pipeline.fit(data.X_train, data.y_train)
    X = encode(data.X_train, data.schema)
    write_bundle(folder, pipeline, data.schema, X)
    if decide is not None:
        plain = Bundle.load(folder)
        write_bundle(folder, pipeline, data.schema, X, decision=decide(plain, X, data))
    return Bundle.load(folder)


def everything_decided(plain: Bundle, X: np.ndarray, data: Any) -> Decision:
    """Calibration, costs and sets, as a version may have them."""
    n = len(plain.schema.classes)
    p = plain.predict_proba(X)
    rng = np.random.default_rng(5)
    n_tables = 1 if n == 2 else n
    x = tuple(np.unique(np.concatenate([[0.0, 1.0], rng.random(17)])) for _ in range(n_tables))
    y = tuple(np.sort(rng.uniform(0.001, 0.999, len(one))) for one in x)
    calibration = Calibration("isotonic", x, y)
    costs = rng.uniform(0.1, 9, (n, n))
    np.fill_diagonal(costs, 0)
    labels = np.array([plain.schema.classes.index(label) for label in data.y_train.tolist()])
    return Decision(calibration, costs, PredictionSets.of(labels, calibration(p), "class"))


def dated_frame(n_rows: int = 500) -> pd.DataFrame:
    """Dates, times and texts beside numbers and categories; three classes."""
    rng = np.random.default_rng(11)
    opened = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, n_rows), unit="D")
    seen = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 9_000_000, n_rows), unit="s")
    words = np.array(["refund", "late", "broken", "thanks", "order", "delivery"])
    notes = [" ".join(rng.choice(words, rng.integers(1, 5))) for _ in range(n_rows)]
    amount = rng.lognormal(3, 1, n_rows)
    score = amount / 40 + np.array(["refund" in note for note in notes]) + (opened.month == 12) * 1.0
    noisy = score + rng.normal(0, 0.3, n_rows)
    return pd.DataFrame(
        {
            "opened": opened.date,
            "seen": np.where(rng.random(n_rows) < 0.1, np.datetime64("NaT"), seen.to_numpy()),
            "amount": amount,
            "note": pd.Series(np.where(rng.random(n_rows) < 0.1, None, notes), dtype=object),
            "shop": rng.choice(["north", "south", "west"], n_rows),
            "kind": np.where(noisy > 1.6, "high", np.where(noisy > 0.8, "middle", "low")),
        }
    )


@pytest.fixture(scope="session")
def dated(tmp_path_factory) -> Bundle:
    """Dates and texts, behind an expansion, with all that a decision may have."""
    return bundle_of(dated_frame(), tmp_path_factory.mktemp("dated") / "bundle", decide=everything_decided)


@pytest.fixture(scope="session")
def decided(mixed_frame, tmp_path_factory) -> Bundle:
    """Two classes with calibration, costs and sets."""
    return bundle_of(mixed_frame, tmp_path_factory.mktemp("decided") / "bundle", decide=everything_decided)


@pytest.fixture(scope="session")
def many_classes(tmp_path_factory) -> Bundle:
    """So many classes that a leaf is a run of entries."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(900, 4))
    labels = np.digitize(x[:, 0] + 0.1 * x[:, 1], np.linspace(-2, 2, 39))
    frame = pd.DataFrame(x, columns=list("abcd")).assign(kind=[f"class {label:02}" for label in labels])
    frame = frame.groupby("kind").filter(lambda rows: len(rows) > 3).reset_index(drop=True)
    return bundle_of(frame, tmp_path_factory.mktemp("many") / "bundle")
