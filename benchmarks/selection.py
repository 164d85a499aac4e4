"""Which model a training chooses, beside other choices from the same rows: scores on test rows, CPU seconds.

For each table: an untuned forest, the choice of an older version (checked out for the time of the
benchmark), this one's, the same without successive halving, and gradient boosting as a yardstick. All learn
from the same training rows and answer the same test rows, whatever split either version has by default.
This version's differences to the others come with a 95 % interval (pairs of rows, bootstrapped). Its log loss
is that of its calibrated probabilities and its balanced accuracy that of its decisions, as it would answer by
default; the others predict the most probable class, and for this one that is given, too.

Tables are scikit-learn's own, two with a known truth, and whatever is named as FILE:TARGET[:ROWS].

Example: python benchmarks/selection.py adult.csv:class:8000 telco.csv:churn
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
BASELINE = "b526342"  # 0.3.0: the best mean of balanced accuracy
BUILT_IN = ("breast_cancer", "wine", "iris", "digits")
MADE = ("made: rare class", "made: noise")
CHOICES = ("untuned", "older", "now", "yardstick")
UNHALVED = "without halving"
SCORES = ("log_loss", "balanced_accuracy", "most_probable")
JUDGED = SCORES[:2]
_LEAST = np.finfo(np.float64).eps
_N_DRAWS = 2000


class Answers(NamedTuple):
    """What a choice says of the test rows."""

    probabilities: NDArray[np.float64]
    decided: NDArray[np.int64]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; 0 when no table is worse than with the older version by more than its interval."""
    args = build_parser().parse_args(argv)
    if args.choose:
        print(json.dumps(_choose(args.choose, args.tables[0], args.test_size, args.out)))
        return 0
    tables = args.tables if args.only else [*BUILT_IN, *MADE, *args.tables]
    found = []
    with tempfile.TemporaryDirectory(prefix="selection_") as temporary:
        folder = Path(temporary)
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(folder / "older"), args.baseline], check=True)
        try:
            for table in tables:
                found.append(_compared(table, folder, args))
                _print_row(found[-1])
        finally:
            subprocess.run([*git, "remove", "--force", str(folder / "older")], check=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 1 if any(row["worse"] for row in found) else 0


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="FILE:TARGET[:ROWS]")
    parser.add_argument("--baseline", default=BASELINE, metavar="REF", help="git's name of the older version")
    parser.add_argument("--halving", action="store_true", help="also choose without successive halving")
    parser.add_argument("--test-size", type=float, default=0.5, help="fraction of rows held out")
    parser.add_argument("--only", action="store_true", help="the named tables alone")
    parser.add_argument("--json", type=Path, default=RESULTS / "selection.json", help="where the numbers go")
    parser.add_argument("--choose", choices=(*CHOICES, UNHALVED), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser


def _compared(table: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Scores of every choice on a table, and the differences between this version's and the others'."""
    path = _prepared(table, folder)
    scores: dict[str, Any] = {}
    asked: dict[str, NDArray[Any]] = {}
    answers: dict[str, Answers] = {}
    for choice in (*CHOICES, UNHALVED) if args.halving else CHOICES:
        source = folder / "older" / "src" if choice == "older" else ROOT / "src"
        out = folder / "answers.npz"
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--choose", choice, "--out", str(out)]
        command += ["--test-size", str(args.test_size), path]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{table}, {choice}: {done.stderr[-2000:]}")
        with np.load(out) as arrays:
            asked = asked or dict(arrays)
            if not all(np.array_equal(asked[name], arrays[name]) for name in ("y", "hashes")):
                raise RuntimeError(f"{table}: {choice} was asked about other test rows.")
            answers[choice] = Answers(arrays["probabilities"], arrays["decided"])
        y = asked["y"]
        scores[choice] = json.loads(done.stdout.splitlines()[-1]) | _scores(y, answers[choice])
    differences = {
        other: {name: _interval(y, answers["now"], answers[other], name) for name in JUDGED}
        for other in answers
        if other != "now"
    }
    worse = [
        name
        for name, (low, high) in differences["older"].items()
        if (low if name == "log_loss" else -high) > 0
    ]
    n_classes = answers["now"].probabilities.shape[1]
    return {"table": table, "test_rows": len(y), "n_classes": n_classes, "choices": scores} | {
        "now less": differences,
        "worse": worse,
    }


def _prepared(table: str, folder: Path) -> str:
    """Name or path of a table with its target, as the choosing processes take it."""
    if table in BUILT_IN:
        return f"{table}:"
    if table in MADE:
        path = folder / f"{table.removeprefix('made: ').replace(' ', '_')}.csv"
        _made(table).to_csv(path, index=False)
        return f"{path}:y"
    name, target, *rows = table.rsplit(":", 2) if table.count(":") > 1 else table.split(":")
    frame = pd.read_csv(name)
    if rows:
        frame = frame.sample(min(int(rows[0]), len(frame)), random_state=0)
    path = folder / Path(name).name
    frame.to_csv(path, index=False)
    return f"{path}:{target}"


def _made(table: str) -> pd.DataFrame:
    """Rows whose probabilities are known: a rare class that two columns tell of, or next to nothing."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(1600, 8)), columns=list("abcdefgh"))
    logit = 1.5 * X["a"] + X["b"] ** 2 - 4 if "rare" in table else 0.3 * X["a"]
    return X.assign(y=np.where(rng.random(len(X)) < 1 / (1 + np.exp(-logit)), "yes", "no"))


def _rows(table: str, test_size: float) -> Any:
    """Training and test rows, split by whole rows as the older version does, so that both judge the same."""
    from proto_model.table import load_training_data, roles

    name, _, target = table.rpartition(":")
    known = hasattr(roles, "Roles")  # 0.3.0 splits in no other way
    how = {"roles": roles.Roles(split="rows")} if known else {}
    return load_training_data(name, target or None, test_size, **how)


def _choose(choice: str, table: str, test_size: float, out: Path) -> dict[str, Any]:
    """Answers of one choice for the test rows, in a file; what was chosen, and CPU seconds."""
    from proto_model.training import VARIANTS, make_pipeline, searches

    data = _rows(table, test_size)
    classes, codes = np.unique(data.y_train, return_inverse=True)
    begin = time.process_time()
    decided, said = None, ""
    if choice == "untuned":
        pipeline = make_pipeline("random_forest", data.schema, 0).fit(data.X_train, codes)
        probabilities, chosen = pipeline.predict_proba(data.X_test), "random_forest"
    elif choice == "yardstick":
        probabilities, chosen = _yardstick(data, codes), "gradient boosting"
    else:
        if choice == UNHALVED:
            from proto_model.training.selection import cross_validation

            cross_validation._LEAST_HALVED = sys.maxsize
        with searches(VARIANTS, data) as results:
            found = list(results)
        best = found[_place(found, choice)]
        probabilities = best.pipeline.predict_proba(data.X_test)
        if choice != "older":
            probabilities, decided, said = _as_answered(best, data, probabilities)
        chosen = f"{best.variant} {best.best_params}{said}"
    seconds = time.process_time() - begin
    y = np.searchsorted(classes, data.y_test)
    hashes = np.sort(data.test_hashes)
    decided = probabilities.argmax(axis=1) if decided is None else decided
    np.savez(out, y=y, hashes=hashes, probabilities=probabilities, decided=decided)
    return {"chosen": chosen, "cpu_s": seconds}


def _as_answered(best: Any, data: Any, raw: NDArray[np.float64]) -> tuple[Any, Any, str]:
    """Calibrated probabilities and decisions of the test rows, and what led to them."""
    from proto_model.training.decision import DecisionSettings, find_decision

    decision = find_decision(best, data, DecisionSettings(), 0).decision
    calibrated = decision.calibrated(raw)
    method = decision.calibration.method if decision.calibration else "none"
    said = f", calibration {method}, {'no' if decision.costs is None else 'balanced'} costs"
    return calibrated, decision.decide(calibrated), said


def _place(found: list[Any], choice: str) -> int:
    """Place of the variant that the leader board puts first."""
    if choice == "older":
        return int(np.argmax([result.cv_balanced_accuracy for result in found]))
    from proto_model.training.selection.choice import choose
    from proto_model.training.selection.scoring import loss

    metric = found[0].metric
    losses = loss(metric, np.array([result.folds.by_metric[metric] for result in found]))
    return choose(losses, found[0].folds.weights, np.array([result.n_nodes for result in found])).index


def _yardstick(data: Any, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gradient boosting with scikit-learn's defaults, stopped early."""
    from proto_model.training.selection.references import _coded, _gradient_boosting

    X, X_test = _coded(data)
    model = _gradient_boosting(data.schema, codes, 0).fit(X, codes)
    return np.asarray(model.predict_proba(X_test))


def _scores(y: NDArray[np.int64], answers: Answers) -> dict[str, float]:
    return {name: float(_value(y, _per_row(y, answers, name), name)[0]) for name in SCORES}


def _per_row(y: NDArray[np.int64], answers: Answers, name: str) -> NDArray[np.float64]:
    if name == "log_loss":
        return np.asarray(-np.log(np.clip(answers.probabilities[np.arange(len(y)), y], _LEAST, 1)))
    predicted = answers.decided if name == "balanced_accuracy" else answers.probabilities.argmax(axis=1)
    return np.asarray(predicted == y, dtype=np.float64)


def _value(
    y: NDArray[np.int64], values: NDArray[np.float64], name: str, draws: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Mean over the rows, or over the classes, of each draw of rows (of the rows as they are without)."""
    chosen = np.arange(len(y))[np.newaxis] if draws is None else draws
    if name == "log_loss":
        return np.asarray(values[chosen].mean(axis=1))
    recalls = []
    for index in np.unique(y):
        inside = y[chosen] == index
        counts = inside.sum(axis=1)
        recalls.append(np.where(inside, values[chosen], 0).sum(axis=1) / np.maximum(counts, 1))
    return np.asarray(np.mean(recalls, axis=0))


def _interval(y: NDArray[np.int64], now: Answers, other: Answers, name: str) -> tuple[float, float]:
    """95 % interval of this version's value less the other one's."""
    values = _per_row(y, now, name) - _per_row(y, other, name)
    generator = np.random.default_rng(0)
    found = [
        _value(y, values, name, generator.integers(0, len(y), (100, len(y)))) for _ in range(_N_DRAWS // 100)
    ]
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return float(low), float(high)


def _print_row(row: dict[str, Any]) -> None:
    print(f"\n{Path(row['table'].split(':')[0]).name or row['table']}: {row['test_rows']} test rows")
    print(f"{'':16} {'log loss':>9} {'bal. acc.':>9} {'most pr.':>9} {'CPU s':>7}  chosen")
    for name, scores in row["choices"].items():
        print(
            f"{name:16} {scores['log_loss']:9.4f} {scores['balanced_accuracy']:9.4f} "
            f"{scores['most_probable']:9.4f} {scores['cpu_s']:7.1f}  {scores['chosen']}"
        )
    for other, intervals in row["now less"].items():
        for name, (low, high) in intervals.items():
            flag = "   WORSE" if other == "older" and name in row["worse"] else ""
            print(f"  now less {other}, {name}: {low:+.4f} to {high:+.4f}{flag}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
