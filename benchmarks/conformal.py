"""How often prediction sets hold the true class, and what calibration and costs change.

    python benchmarks/conformal.py grid        # made tables: rows, balance, classes; many splits of each
    python benchmarks/conformal.py tables      # real tables: scikit-learn's, and any FILE:TARGET
    python benchmarks/conformal.py false       # how often calibration is switched on where nothing is to gain

Each split trains a small forest with the folds of a training run, makes a decision of it as a run does, and
measures on fresh rows. The coverage of a class is averaged over the splits; beside it stands the standard
error of that average, and what a hold-out set of the same number of rows would promise at most.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import OrdinalEncoder

from proto_model.model.decision import PredictionSets
from proto_model.training.calibration import chosen, losses

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COVERAGES = (0.8, 0.9, 0.95)
N_FRESH = 2000


@dataclass
class Tally:
    """Sums over splits of what was measured on fresh rows, by coverage."""

    covered: dict[float, list[Floats]] = field(default_factory=dict)
    sizes: dict[float, list[float]] = field(default_factory=dict)
    bare: dict[float, list[Floats]] = field(default_factory=dict)  # without adding the prediction
    losses: list[tuple[dict[str, float], dict[str, float]]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)


def split_once(
    train: tuple[Floats, Ints], fresh: tuple[Floats, Ints], forest: Any, wish: str, kind: Any, tally: Tally
) -> None:
    """Train, decide and measure once."""
    X, y = train
    n_classes = int(y.max()) + 1
    n_folds = int(np.clip(np.bincount(y).min(), 2, 5))
    folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(X, y))
    held_out = np.zeros((len(y), n_classes))
    for learn, judge in folds:
        fitted = forest.fit(X[learn], y[learn])
        held_out[np.ix_(judge, fitted.classes_)] = fitted.predict_proba(X[judge])
    choice = chosen(wish, y, held_out, [judge for _, judge in folds])
    sets = PredictionSets.of(y, choice.out_of_fold, kind)
    raw = forest.fit(X, y).predict_proba(fresh[0])
    answered = raw if choice.calibration is None else choice.calibration(raw)
    tally.methods.append("none" if choice.calibration is None else choice.calibration.method)
    tally.losses.append((losses(fresh[1], raw), losses(fresh[1], answered)))
    rows = np.arange(len(answered))
    for coverage in COVERAGES:
        bare = sets.members(answered, coverage)
        members = bare.copy()
        members[rows, answered.argmax(axis=1)] = True
        tally.covered.setdefault(coverage, []).append(_by_class(members[rows, fresh[1]], fresh[1], n_classes))
        tally.bare.setdefault(coverage, []).append(_by_class(bare[rows, fresh[1]], fresh[1], n_classes))
        tally.sizes.setdefault(coverage, []).append(float(members.sum(axis=1).mean()))


def _by_class(inside: NDArray[np.bool_], y: Ints, n_classes: int) -> Floats:
    """Share of all rows, then of the rows of each class."""
    shares = [inside[y == k].mean() if (y == k).any() else np.nan for k in range(n_classes)]
    return np.array([inside.mean(), *shares])


def report(name: str, tally: Tally, y: Ints) -> None:
    """A line per coverage, and one on losses."""
    n_splits = len(tally.methods)
    rarest = int(np.bincount(y).argmin())
    for coverage in COVERAGES:
        covered, bare = (np.array(part[coverage]) for part in (tally.covered, tally.bare))
        error = np.nanstd(covered, axis=0, ddof=1) / np.sqrt(n_splits)
        n_rare = int(np.bincount(y).min())
        line = {
            "table": name,
            "coverage": coverage,
            "splits": n_splits,
            "all": round(float(covered[:, 0].mean()), 4),
            "rarest class": round(float(np.nanmean(covered[:, 1 + rarest])), 4),
            "its error": round(float(error[1 + rarest]), 4),
            "least of the classes": round(float(np.nanmean(covered[:, 1:], axis=0).min()), 4),
            "rarest without the prediction": round(float(np.nanmean(bare[:, 1 + rarest])), 4),
            "hold-out, at most": round(min(1.0, coverage + 1 / (n_rare + 1)), 4),
            "classes in a set": round(float(np.mean(tally.sizes[coverage])), 3),
        }
        print(json.dumps(line), flush=True)
    before, after = (pd.DataFrame([pair[i] for pair in tally.losses]).mean() for i in (0, 1))
    gain = pd.DataFrame([{k: b[k] - a[k] for k in b} for b, a in tally.losses])
    line = {
        "table": name,
        "calibrated by": {method: tally.methods.count(method) for method in sorted(set(tally.methods))},
        **{loss: [round(float(before[loss]), 4), round(float(after[loss]), 4)] for loss in before.index},
        "splits with a higher log loss": int((gain["log loss"] < -1e-9).sum()),
    }
    print(json.dumps(line), flush=True)


def made_rows(n_rows: int, shares: Sequence[float], rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Rows of overlapping clouds, one per class; each class has at least two rows."""
    n_classes = len(shares)
    y = rng.choice(n_classes, n_rows, p=shares)
    y[: 2 * n_classes] = np.repeat(np.arange(n_classes), 2)
    centers = np.random.default_rng(1).normal(0, 1.0, (n_classes, 6))
    return centers[y] + rng.normal(0, 1.0, (n_rows, 6)), y


def run_grid(arguments: argparse.Namespace) -> None:
    """Made tables."""
    shares = {
        "2 classes 50/50": [0.5, 0.5], "2 classes 90/10": [0.9, 0.1], "2 classes 98/2": [0.98, 0.02],
        "3 classes": [0.6, 0.3, 0.1], "10 classes": [0.1] * 10,
    }  # fmt: skip
    for named, parts in shares.items():
        for n_rows in (30, 100, 300, 1000, 5000):
            if n_rows < 3 * len(parts):
                continue
            tally = Tally()
            n_splits = max(10, arguments.splits // (1 + n_rows // 1000))
            for seed in range(n_splits):
                rng = np.random.default_rng([seed, n_rows])
                train, fresh = made_rows(n_rows, parts, rng), made_rows(N_FRESH, parts, rng)
                split_once(train, fresh, _forest(seed), arguments.calibrate, arguments.conformal, tally)
            report(f"{named}, {n_rows} rows", tally, train[1])


def run_tables(arguments: argparse.Namespace) -> None:
    """Real tables, each cut anew for every split."""
    loaders: dict[str, Callable[[], tuple[Floats, Ints]]] = {
        name: lambda load=load: load(return_X_y=True)  # type: ignore[misc]
        for name, load in {
            "breast_cancer": load_breast_cancer, "wine": load_wine, "iris": load_iris, "digits": load_digits,
        }.items()
    }  # fmt: skip
    for text in arguments.tables:
        path, _, target = text.rpartition(":")
        loaders[path] = lambda path=path, target=target: read_table(path, target)  # type: ignore[misc]
    for name, load in loaders.items():
        X, y = load()
        tally = Tally()
        for seed in range(arguments.splits):
            X_train, X_fresh, y_train, y_fresh = train_test_split(
                X, y, train_size=min(arguments.rows, int(len(y) * 0.7)), stratify=y, random_state=seed
            )
            train, fresh = (X_train, y_train), (X_fresh[:5000], y_fresh[:5000])
            split_once(train, fresh, _forest(seed), arguments.calibrate, arguments.conformal, tally)
        report(f"{name}, {len(y_train)} rows", tally, y_train)


def read_table(path: str, target: str) -> tuple[Floats, Ints]:
    """Codes of a CSV file's columns, and of its classes; columns of more than 50 texts are left out."""
    table = pd.read_csv(path, skipinitialspace=True).dropna(subset=[target])
    texts = [n for n in table.columns if n != target and not pd.api.types.is_numeric_dtype(table[n])]
    table = table.drop(columns=[name for name in texts if table[name].nunique() > 50])
    texts = [name for name in texts if name in table.columns]
    coder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    X = make_column_transformer((coder, texts), remainder="passthrough").fit_transform(
        table.drop(columns=target)
    )
    return np.asarray(X, dtype=np.float64), np.unique(table[target].astype(str), return_inverse=True)[1]


def run_false(arguments: argparse.Namespace) -> None:
    """Probabilities that are right already, and how often they get calibrated all the same."""
    for n_classes in (2, 3, 10):
        for n_rows in (100, 300, 1000, 5000):
            n_on, harms = 0, []
            for seed in range(arguments.splits):
                rng = np.random.default_rng([seed, n_rows, n_classes])
                y, p, truth = _right(n_rows, n_classes, rng)
                choice = chosen("auto", y, p, np.array_split(rng.permutation(n_rows), 5))
                if choice.calibration is not None:
                    n_on += 1
                    _, p, truth = _right(N_FRESH, n_classes, rng)
                    worse = -(truth * np.log(choice.calibration(p))).sum(axis=1)
                    harms.append(float((worse + (truth * np.log(truth)).sum(axis=1)).mean()))
            line = {
                "classes": n_classes, "rows": n_rows, "calibrated": round(n_on / arguments.splits, 4),
                "divergence then": round(float(np.mean(harms)), 4) if harms else None,
            }  # fmt: skip
            print(json.dumps(line), flush=True)


def _right(n_rows: int, n_classes: int, rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
    truth = rng.dirichlet(np.linspace(1, 0.4, n_classes), n_rows) + 1e-6
    truth /= truth.sum(axis=1, keepdims=True)
    y = np.minimum((truth.cumsum(axis=1) < rng.random((n_rows, 1))).sum(axis=1), n_classes - 1)
    return y, truth, truth


def _forest(seed: int) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(25, min_samples_leaf=2, random_state=seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a part; 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parts = {"grid": run_grid, "tables": run_tables, "false": run_false}
    parser.add_argument("part", choices=list(parts))
    parser.add_argument("tables", nargs="*", metavar="FILE:TARGET")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000, help="training rows at most (default: %(default)s)")
    parser.add_argument("--calibrate", default="auto", choices=("auto", "none", "sigmoid", "isotonic"))
    parser.add_argument("--conformal", default="class", choices=("class", "marginal"))
    arguments = parser.parse_intermixed_args(argv)
    parts[arguments.part](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
