"""Fidelity with many classes: our measures beside the published one, and how far any surrogate gets.

For neighbours of held-out rows that no surrogate has learned from, prints the medians of three measures:
`fidelity` (agreement with the model, averaged over classes), `class_fidelity` (the row's class or another),
and the plain share of agreement. The surrogates are ours; the tree of lore_sa (scikit-learn's, as deep as it
gets, all classes weighing the same), which is also measured on the rows that it learned from, as the library
does; and 50 extra trees. `made` is a table of 10 classes in 20 features.

Example: python benchmarks/explain_fidelity.py --csv segment=segment.csv:category --rows 12
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from explain import Table, chosen_rows, load
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from proto_model.explanation import make_explainer
from proto_model.explanation.lore import engine
from proto_model.explanation.measures import balanced_agreement
from proto_model.parameters import Parameters


def build_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tables", nargs="*", default=["made", "digits"], help="built-in data sets, and made"
    )
    parser.add_argument("--csv", nargs="*", default=[], metavar="NAME=PATH:TARGET", help="other tables")
    parser.add_argument("--rows", type=int, default=12, help="held-out rows per table")
    return parser


def made(folder: Path) -> str:
    """A table of 10 classes in 20 features, as CSV."""
    X, y = make_classification(
        4000, 20, n_informative=10, n_redundant=4, n_classes=10, n_clusters_per_class=1, random_state=0
    )
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(20)]).assign(y=[f"c{k}" for k in y])
    frame.to_csv(folder / "made.csv", index=False)
    return str(folder / "made.csv")


def compared(table: Table, n_rows: int) -> dict[str, list[float]]:
    """Medians of the three measures by surrogate."""
    caught: list[tuple[Any, ...]] = []
    fit = engine._surrogate

    def catch(rules: Any, hood: Any, p_hood: Any, own: Any, effort: Any) -> Any:
        result = fit(rules, hood, p_hood, own, effort)
        caught.append((rules, hood, p_hood, effort.n_held_out, result[0]))
        return result

    background = table.background("synthetic")
    explainer = make_explainer("lore", table.schema, background, table.predict_proba, True)
    with patch.object(engine, "_surrogate", catch):
        explainer.explain(chosen_rows(table, n_rows), Parameters(max_counterfactuals=0))
    found: dict[str, list[tuple[float, float, float]]] = {}
    for rules, hood, p, held, ours in caught:
        y, X = p.argmax(axis=1), np.nan_to_num(hood.X, nan=-9.0)

        def judge(name: str, told: Any, rows: slice, y: Any = y, label: int = rules.label) -> None:
            same = balanced_agreement(y[rows], told), balanced_agreement(y[rows] == label, told == label)
            found.setdefault(name, []).append((*same, float((y[rows] == told).mean())))

        out, learned = slice(0, held), slice(held, None)
        judge("ours", ours.predict(rules.position[hood.codes[out]]), out)
        tree = DecisionTreeClassifier(class_weight="balanced", random_state=0).fit(X[learned], y[learned])
        judge("tree of lore_sa", tree.predict(X[out]), out)
        judge("the same, on the rows learned from", tree.predict(X[learned]), learned)
        weights = 1 / np.bincount(y, minlength=p.shape[1])[y[learned]]
        many = ExtraTreesRegressor(50, min_samples_leaf=2, random_state=0).fit(
            X[learned], p[learned], weights
        )
        judge("50 extra trees", many.predict(X[out]).argmax(axis=1), out)
    return {name: np.median(values, axis=0).tolist() for name, values in found.items()}


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = build_parser().parse_args(argv)
    print("| table | surrogate | `fidelity` | `class_fidelity` | share of agreement |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        given = [(name, made(Path(folder)) if name == "made" else name, None) for name in args.tables]
        given += [(name, *place.rsplit(":", 1)) for name, place in (one.split("=", 1) for one in args.csv)]
        for name, dataset, target in given:
            for surrogate, measures in compared(load(dataset, name, target), args.rows).items():
                shown = " | ".join(f"{measure:.2f}" for measure in measures)
                print(f"| {name} | {surrogate} | {shown} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
