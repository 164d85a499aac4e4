"""What folds that keep equal rows together change, and what they cost.

Copies: tables of noise, every row of which is there several times; a model of them is no better than a coin.
For each seed the balanced accuracy in cross-validation, with folds that know nothing of copies (those of
StratifiedKFold) and with ours, and on the test rows, whose split keeps equal rows together.

Cost: CPU seconds of the folds of a table, in turns with those of scikit-learn; and how uneven the folds are:
the largest share of a class in a fold, as a multiple of an even share.

Example: python benchmarks/folds.py --seeds 20
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from proto_model.table import RawTable, prepare
from proto_model.table.folds import folds, units_of
from proto_model.table.identity import RowIds

_TIMES = {"1 time": 1, "2 times": 2, "4 times": 4}


def repeated_noise(n_times: int, seed: int) -> Any:
    """300 rows of noise, each several times, as training data."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(300, 5)), columns=list("abcde"))
    frame["class"] = generator.choice(["no", "yes"], len(frame))
    table = pa.Table.from_pandas(pd.concat([frame] * n_times), preserve_index=False)
    return prepare(RawTable("noise", "noise.csv", table))


def scores(data: Any) -> tuple[float, float, float]:
    """Balanced accuracy in cross-validation without and with knowledge of copies, and on the test rows."""
    X, y = data.X_train.to_numpy(), data.y_train
    plain = StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)

    def cross_validated(found: Any) -> float:
        return float(np.mean([judged(X[learn], y[learn], X[judge], y[judge]) for learn, judge in found]))

    return (
        cross_validated(plain),
        cross_validated(folds(data, 0)),
        judged(X, y, data.X_test.to_numpy(), data.y_test),
    )


def judged(X: Any, y: Any, X_judge: Any, y_judge: Any) -> float:
    """Balanced accuracy of a forest on other rows."""
    forest = RandomForestClassifier(30, random_state=0).fit(X, y)
    return float(balanced_accuracy_score(y_judge, forest.predict(X_judge)))


def timed(work: Callable[[], Any]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def table(n_rows: int, group_size: int, seed: int = 0) -> Any:
    """Rows of 20 features and 3 uneven classes; in groups if they are larger than one row."""
    generator = np.random.default_rng(seed)
    X = pd.DataFrame(generator.normal(size=(n_rows, 20))).add_prefix("x")
    y = generator.choice(3, n_rows, p=[0.6, 0.3, 0.1])
    group = generator.integers(0, max(n_rows // group_size, 2), n_rows).astype(np.uint64)
    return SimpleNamespace(X_train=X, y_train=y, train_ids=RowIds(group=group if group_size > 1 else None))


def cost(n_rows: int, group_size: int, repeats: int) -> dict[str, float]:
    """CPU seconds of our folds and those of scikit-learn, in turns, and the unevenness of each."""
    data = table(n_rows, group_size)
    n_folds = 5 if n_rows < 10_000 else 3
    groups = units_of(data, n_folds)
    splitters: dict[str, Callable[[], Any]] = {
        "ours": lambda: folds(data, 0),
        "stratified": lambda: list(
            StratifiedKFold(n_folds, shuffle=True, random_state=0).split(groups, data.y_train)
        ),
        "stratified_group": lambda: list(
            StratifiedGroupKFold(n_folds, shuffle=True, random_state=0).split(groups, data.y_train, groups)
        ),
    }
    seconds = {name: min(timed(work) for _ in range(repeats)) for name, work in splitters.items()}
    return {
        "rows": n_rows,
        "rows_per_group": group_size,
        **{f"{name}_s": value for name, value in seconds.items()},
        **{f"{name}_uneven": unevenness(work(), data.y_train) for name, work in splitters.items()},
    }


def unevenness(found: Any, y: Any) -> float:
    """The largest share of a class in a fold, as a multiple of an even share."""
    counts = np.array([np.bincount(y[judge], minlength=y.max() + 1) for _, judge in found])
    return float((counts * len(found) / counts.sum(axis=0)).max())


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables as they come, and all of it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args(argv)
    report: dict[str, Any] = {"copies": {}, "cost": []}
    print("rows are there   folds that ignore copies   our folds   test rows   (mean, standard deviation)")
    for name, n_times in _TIMES.items():
        found = np.array([scores(repeated_noise(n_times, seed)) for seed in range(arguments.seeds)])
        report["copies"][name] = {"mean": found.mean(axis=0).tolist(), "std": found.std(axis=0).tolist()}
        shown = zip(found.mean(axis=0), found.std(axis=0), strict=True)
        print(f"{name:16} " + "   ".join(f"{mean:.3f} ± {std:.3f}" for mean, std in shown))
    for n_rows, group_size in ((569, 1), (30_000, 1), (30_000, 4), (30_000, 100), (200_000, 4)):
        line = cost(n_rows, group_size, arguments.repeats if n_rows < 100_000 else 1)
        report["cost"].append(line)
        print("  ".join(f"{key} {value:,.4g}" for key, value in line.items()))
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
