"""Explanations side by side: our LORE engine, and the published library's genetic and random generators.

    python benchmarks/explain.py --adult adult.csv --json build/explain.json

Trains a forest of 100 trees per table (of Adult: on 8000 rows, without `fnlwgt` and `education-num`),
explains the same held-out rows with every engine, and measures each explanation from its JSON: rows are drawn
inside the rule, counterfactuals are put to the model again. Times are CPU seconds of one core, for one row at
a time, with the explainer built before. `docs/explanations.md` says what the measures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from explain_reach import draw_reach, reach
from matplotlib.figure import Figure
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from proto_model.errors import DataError
from proto_model.explanation import Explainer, FrameModel, make_explainer
from proto_model.explanation.background import Background, differs
from proto_model.explanation.figure import explanation_figure
from proto_model.explanation.measures import draw_inside
from proto_model.explanation.rule import Premise, Rule
from proto_model.forest import CompiledForest
from proto_model.forest.pipeline import compiled_forest, forest_columns
from proto_model.model import Bundle
from proto_model.parameters import Parameters
from proto_model.registry.settings import TrainingSettings
from proto_model.schema import ModelSchema
from proto_model.table import decode, encode, load_table, prepare
from proto_model.training.background import synthetic_rows
from proto_model.training.selection.variants import make_pipeline

Matrix = NDArray[np.float64]
MIN_ROWS = 15
N_INSIDE = 2000

TABLES = ("adult", "breast_cancer", "wine")

# Measure, how it is shown, which way is better, and the goals of adult, breast_cancer and wine, if any.
MEASURES: list[tuple[str, str, int, dict[str, float]]] = [
    ("cpu_ms", "CPU ms per row (median)", -1, {"adult": 30, "breast_cancer": 20, "wine": 12}),
    ("model_calls", "calls of the model (most)", -1, {}),
    ("model_rows", "rows sent to the model (median)", -1, {}),
    ("precision", "rule precision (median)", 1, dict.fromkeys(TABLES, 0.98)),
    ("precision_q1", "rule precision (first quartile)", 1, dict.fromkeys(TABLES, 0.95)),
    ("test_precision", "precision on test rows (median)", 1, dict.fromkeys(TABLES, 0.98)),
    (
        "test_coverage",
        "coverage of test rows (median)",
        1,
        dict(zip(TABLES, (0.05, 0.45, 0.25), strict=True)),
    ),
    ("sound", "model's class, row covered, not empty", 1, dict.fromkeys(TABLES, 1.0)),
    ("fidelity", "balanced fidelity (median)", 1, {"adult": 0.87, "breast_cancer": 0.80, "wine": 0.88}),
    ("class_fidelity", "fidelity of the row's class against the rest (median)", 1, {}),
    ("has_valid", "rows with a valid counterfactual", 1, dict.fromkeys(TABLES, 1.0)),
    ("hopeless", "rows without one, of which all combinations were tried", -1, {}),
    ("against", "given counterfactuals that go the wrong way", -1, {}),
    ("valid", "given counterfactuals that flip", 1, dict.fromkeys(TABLES, 1.0)),
    ("changed", "features changed, nearest (median)", -1, {"adult": 1, "breast_cancer": 4, "wine": 2}),
    ("distance", "distance of the nearest (median)", -1, {"adult": 0.7, "breast_cancer": 7.5, "wine": 2}),
    (
        "stability",
        "stability over seeds (median Jaccard)",
        1,
        dict(zip(TABLES, (0.85, 0.6, 0.9), strict=True)),
    ),
    ("resampled", "stability over backgrounds (median)", 1, {}),
    ("premises", "premises per rule (mean)", -1, {}),
    ("bytes", "bytes of JSON (most)", -1, dict.fromkeys(TABLES, 10_000)),
]


@dataclass(frozen=True)
class Table:
    """A data set with its model."""

    name: str
    schema: ModelSchema
    X_train: Matrix
    y_train: NDArray[np.int64]
    X_test: Matrix
    pipeline: Any
    forest: CompiledForest | Bundle

    def predict_proba(self, X: Matrix) -> Matrix:
        """The compiled forest's answer, on one thread."""
        return self.forest.predict_proba(X, n_threads=1)

    def background(self, kind: str, part: Any = slice(None), seed: int = 0) -> Matrix:
        """Training rows, or synthetic ones drawn from them."""
        if kind == "rows":
            return self.X_train[part]
        return synthetic_rows(self.X_train[part], self.y_train[part], self.schema, seed)


@dataclass(frozen=True)
class Plan:
    """How an engine is measured."""

    effort: str
    n_seeds: int
    n_backgrounds: int
    background: str
    held: bool = False


@dataclass
class Counted:
    """A model that counts what it is asked."""

    predict_proba: Callable[[Matrix], Matrix]
    calls: int = 0
    rows: int = 0

    def __call__(self, X: Matrix) -> Matrix:
        """Probabilities, counted."""
        self.calls += 1
        self.rows += len(X)
        return self.predict_proba(X)


def load(dataset: str, name: str, target: str | None = None) -> Table:
    """Table with a fitted forest of 100 trees."""
    raw = load_table(dataset)
    if name == "adult":
        unused = [c for c in raw.table.column_names if c.strip() in ("fnlwgt", "education-num")]
        raw = replace(raw, table=raw.table.drop_columns(unused))
    data = prepare(raw, "class" if name == "adult" else target, 0.3, name)
    frame, y = data.X_train, data.y_train
    if len(frame) > 8000:
        chosen = np.sort(np.random.default_rng(0).choice(len(frame), 8000, replace=False))
        frame, y = frame.iloc[chosen], y[chosen]
    pipeline = make_pipeline("random_forest", data.schema, 0)
    pipeline.set_params(forest__n_estimators=100).fit(frame, y)
    forest = compiled_forest(pipeline, data.schema)
    return Table(
        name=name,
        schema=data.schema,
        X_train=encode(frame, data.schema),
        y_train=np.unique(y, return_inverse=True)[1],
        X_test=encode(data.X_test, data.schema),
        pipeline=pipeline,
        forest=forest,
    )


def load_version(dataset: str, name: str, target: str | None, uri: str) -> Table:
    """Table with a version that `proto_model train` made of it, with its default test size."""
    import mlflow

    bundle = Bundle.load(Path(mlflow.artifacts.download_artifacts(uri), "artifacts", "bundle"))
    data = prepare(load_table(dataset), target, TrainingSettings().test_size, name)
    if data.schema.feature_names != bundle.schema.feature_names:
        raise DataError(f"{uri} was trained on other columns than those of {dataset}.")
    return Table(
        name=name,
        schema=bundle.schema,
        X_train=encode(data.X_train, bundle.schema),
        y_train=np.unique(data.y_train, return_inverse=True)[1],
        X_test=encode(data.X_test, bundle.schema),
        pipeline=bundle.pipeline,
        forest=bundle,
    )


def rule_of(item: dict[str, Any], schema: ModelSchema) -> Rule:
    """The rule in an explanation's JSON."""
    premises = []
    for premise in item["premises"]:
        j = schema.feature_names.index(premise["feature"])
        codes = None
        names = schema.features[j].categories or (False, True)
        if "in" in premise:
            codes = tuple(names.index(value) for value in premise["in"])
        elif "not_in" in premise:
            codes = tuple(k for k, value in enumerate(names) if value not in premise["not_in"])
        elif "of" in premise:
            raise ValueError(
                f"The values of {premise['feature']!r} were left out, so the rule cannot be measured."
            )
        premises.append(
            Premise(
                j,
                above=premise.get("above", -np.inf),
                at_most=premise.get("at_most", np.inf),
                codes=codes,
                or_missing=premise.get("or_missing", False),
            )
        )
    return Rule(tuple(premises), schema.classes.index(item["consequence"]))


def changed_row(x: Matrix, changes: list[dict[str, Any]], schema: ModelSchema) -> Matrix:
    """The row after the changes of a counterfactual."""
    row = x.copy()
    for change in changes:
        j = schema.feature_names.index(change["feature"])
        categories = schema.features[j].categories
        row[j] = float(categories.index(change["to"])) if categories is not None else float(change["to"])
    return row


def goes_against(table: Table, x: Matrix, z: Matrix) -> bool:
    """Whether a change alone lowers the mean probability of z's class over training rows, by half a point."""
    rows = table.X_train[np.random.default_rng(2).permutation(len(table.X_train))[:500]]
    wanted = int(table.predict_proba(z[np.newaxis]).argmax())
    for j in np.flatnonzero(differs(x, z)):
        before, after = rows.copy(), rows.copy()
        before[:, j], after[:, j] = x[j], z[j]
        change = table.predict_proba(after)[:, wanted] - table.predict_proba(before)[:, wanted]
        if change.mean() < -0.005:
            return True
    return False


def jaccard(explanations: list[dict[str, Any]]) -> float:
    """Mean similarity of the features of rules."""
    sets = [{p["feature"] for p in e["rule"]["premises"]} for e in explanations]
    return float(np.mean([len(a & b) / max(len(a | b), 1) for a, b in combinations(sets, 2)]))


def measure(
    table: Table, rows: Matrix, make: Callable[[Callable[[Matrix], Matrix], Matrix], Explainer],
    model: Callable[[Matrix], Matrix], plan: Plan, X_background: Matrix,
) -> dict[str, Any]:  # fmt: skip
    """All measures of one engine on one table; what is measured on training rows are real ones throughout."""
    background = Background.from_matrix(table.schema, table.X_train)
    test_labels = table.predict_proba(table.X_test).argmax(axis=1)
    counted = Counted(model)
    explainer = make(counted, X_background)
    # What is sensitive may change unless `held`, so that distances compare with those of earlier versions.
    allowed = () if plan.held else tuple(table.schema.feature_names)
    options, n_seeds = Parameters(effort=plan.effort, mutable_features=allowed), plan.n_seeds
    explainer.explain(rows[:1], options)
    per_row: list[dict[str, float]] = []
    for i, x in enumerate(rows):
        counted.calls = counted.rows = 0
        started = time.process_time()
        (explanation,) = explainer.explain(x[np.newaxis], options)
        cpu = time.process_time() - started
        calls, n_rows = counted.calls, counted.rows
        label = int(table.predict_proba(x[np.newaxis]).argmax())
        rule = rule_of(explanation["rule"], table.schema)
        inside = draw_inside(background, rule, N_INSIDE, np.random.default_rng(1000 + i))
        covered = rule.covers(table.X_test)
        flips = [changed_row(x, c["changes"], table.schema) for c in explanation["counterfactuals"]]
        flipped = table.predict_proba(np.reshape(flips, (-1, len(x)))).argmax(axis=1) != label
        nearest = [c for c, ok in zip(explanation["counterfactuals"], flipped, strict=True) if ok][:1]
        others = [explainer.explain(x[np.newaxis], replace(options, seed=s)) for s in range(1, n_seeds)]
        per_row.append(
            {
                "cpu_ms": 1000 * cpu,
                "model_calls": calls,
                "model_rows": n_rows,
                "precision": float((table.predict_proba(inside).argmax(axis=1) == rule.consequence).mean()),
                "test_precision": _share(test_labels[covered] == rule.consequence),
                "test_coverage": float(covered.mean()),
                "sound": float(
                    rule.consequence == label
                    and bool(rule.covers(x[np.newaxis])[0])
                    and bool(rule.premises or explanation["notes"])
                ),
                "fidelity": np.nan if explanation["fidelity"] is None else explanation["fidelity"],
                "class_fidelity": np.nan
                if explanation["class_fidelity"] is None
                else explanation["class_fidelity"],
                "n_valid": float(flipped.sum()),
                "n_given": float(len(flipped)),
                "hopeless": float(not flips and any("combinations" in note for note in explanation["notes"])),
                "against": float(sum(goes_against(table, x, z) for z in flips)),
                "changed": float(len(nearest[0]["changes"])) if nearest else np.nan,
                "distance": nearest[0]["distance"] if nearest else np.nan,
                "stability": jaccard([explanation, *(e for (e,) in others)]) if n_seeds > 1 else np.nan,
                "premises": float(len(rule.premises)),
                "bytes": float(len(json.dumps(explanation, separators=(",", ":")).encode())),
            }
        )  # fmt: skip
    result = _summary(per_row)
    result["resampled"] = _resampled(table, rows, make, model, options, plan)
    return result


def _summary(per_row: list[dict[str, float]]) -> dict[str, Any]:
    """Medians and quartiles over the rows; shares where a median says nothing."""
    columns = {key: np.array([row[key] for row in per_row]) for key in per_row[0]}
    result: dict[str, Any] = {key: _median(values) for key, values in columns.items()}
    result["quartiles"] = {
        key: [float(q) for q in np.nanquantile(values, [0.25, 0.75])]
        for key, values in columns.items()
        if not np.isnan(values).all()
    }
    result["precision_q1"] = result["quartiles"]["precision"][0]
    result["model_calls"] = float(columns["model_calls"].max())
    result["bytes"] = float(columns["bytes"].max())
    result["sound"], result["premises"] = float(columns["sound"].mean()), float(columns["premises"].mean())
    result["has_valid"] = float((columns["n_valid"] > 0).mean())
    result["hopeless"] = float(columns["hopeless"].mean())
    given = columns["n_given"].sum()
    result["against"] = float(columns["against"].sum() / given) if given else None
    result["valid"] = float(columns["n_valid"].sum() / given) if given else None
    return result


def _resampled(
    table: Table, rows: Matrix, make: Callable[[Callable[[Matrix], Matrix], Matrix], Explainer],
    model: Callable[[Matrix], Matrix], options: Parameters, plan: Plan,
) -> float | None:  # fmt: skip
    """Stability of the rules' features when the background is another half of the training rows each time."""
    if plan.n_backgrounds < 2:
        return None
    explained = []
    for k in range(plan.n_backgrounds):
        half = np.random.default_rng(k).permutation(len(table.X_train))[: max(len(table.X_train) // 2, 2)]
        explained.append(make(model, table.background(plan.background, half, k)).explain(rows, options))
    return float(np.median([jaccard(list(each)) for each in zip(*explained, strict=True)]))


def example(table: Table) -> Figure:
    """Figure of the test row whose first class's probability is nearest to 0.8."""
    probabilities = table.predict_proba(table.X_test)[:, 0]
    i = int(np.abs(probabilities - 0.8).argmin())
    row = table.X_test[i : i + 1]
    (explanation,) = make_explainer("lore", table.schema, table.X_train, table.predict_proba).explain(
        row, Parameters()
    )
    return explanation_figure(
        explanation, table.schema, decode(row, table.schema).iloc[0].to_dict(), f"Row {i}"
    )


def reach_of_adult(table: Table, path: Path, n_rows: int) -> str:
    """Draw how near counterfactuals are and could be; the medians as text."""
    background = Background.from_matrix(table.schema, table.X_train)
    explainer = make_explainer("lore", table.schema, table.X_train, table.predict_proba)
    trees = [tree.tree_ for tree in table.pipeline.named_steps["forest"].estimators_]
    columns = np.asarray(forest_columns(table.pipeline, table.schema))
    features = np.concatenate([columns[tree.feature[tree.feature >= 0]] for tree in trees])
    values = np.concatenate([tree.threshold[tree.feature >= 0] for tree in trees])
    thresholds = [np.unique(values[features == j]) for j in range(background.n_features)]
    result = reach(background, thresholds, chosen_rows(table, n_rows), table.predict_proba, explainer)
    goal = next(goals["adult"] for key, _, _, goals in MEASURES if key == "distance")
    draw_reach(result, goal, f"Adult, {n_rows} held-out rows").savefig(path, dpi=100)
    return (
        f"median distance of the nearest counterfactual, {n_rows} rows: "
        f"possible {np.median(result.possible):.3f}, "
        f"with one change {np.median(result.possible_one):.3f}, found {np.median(result.found):.3f}; "
        f"within {goal:g}: possible {(result.possible <= goal).mean():.2f}, "
        f"found {(result.found <= goal).mean():.2f} of the rows"
    )


def chosen_rows(table: Table, n_rows: int) -> Matrix:
    """The held-out rows that are explained."""
    return table.X_test[np.random.default_rng(1).permutation(len(table.X_test))[:n_rows]]


def _share(hits: NDArray[np.bool_]) -> float:
    """Share of true values; not a number where there are none."""
    return float(hits.mean()) if len(hits) else np.nan


def _median(values: NDArray[np.float64]) -> float | None:
    """Median of what was measured."""
    return None if np.isnan(values).all() else float(np.nanmedian(values))


def run(
    table: Table,
    n_rows: int,
    n_seeds: int,
    engines: list[str],
    background: str = "synthetic",
    held: bool = False,
) -> dict[str, dict[str, Any]]:
    """Measures by engine."""
    rows = chosen_rows(table, n_rows)
    as_frame = FrameModel(table.pipeline.predict_proba, table.schema)
    plans: dict[str, tuple[str, Callable[[Matrix], Matrix], str, int, int]] = {
        "lore": ("lore", table.predict_proba, "fast", n_seeds, 3),
        "lore thorough": ("lore", table.predict_proba, "thorough", n_seeds, 0),
        "lore, pipeline": ("lore", as_frame, "fast", 1, 0),
        "lore_sa random": ("lore_sa", table.predict_proba, "fast", min(n_seeds, 2), 0),
        "lore_sa genetic": ("lore_sa", table.predict_proba, "thorough", 1, 0),
    }
    results = {}
    for name in engines:
        engine, model, effort, seeds, backgrounds = plans[name]
        plan = Plan(effort, seeds, backgrounds, background, held)
        print(f"{table.name}: {name} ...", file=sys.stderr, flush=True)

        def make(predict: Callable[[Matrix], Matrix], X: Matrix, engine: str = engine) -> Explainer:
            return make_explainer(engine, table.schema, X, predict, background == "synthetic")

        results[name] = measure(table, rows, make, model, plan, table.background(background))
    return results


def report(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown tables; `*` marks where our engine, at its default effort, misses its goal."""
    lines = []
    for table, by_engine in results.items():
        lines += [
            f"### {table}",
            "",
            f"| measure | goal | {' | '.join(by_engine)} |",
            "|---|---|" + "---|" * len(by_engine),
        ]
        for key, title, better, asked in MEASURES:
            goal = asked.get(table)
            cells = []
            for engine, values in by_engine.items():
                value = values.get(key)
                missed = (
                    engine == "lore"
                    and goal is not None
                    and (value is None or better * value < better * goal)
                )
                cells.append(("-" if value is None else f"{value:.3g}") + ("*" if missed else ""))
            sign = "" if goal is None else ("≥ " if better > 0 else "≤ ") + f"{goal:g}"
            lines.append(f"| {title} | {sign} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def summary(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """One Markdown table of all tables, as on the documentation's page."""
    engines = list(next(iter(results.values())))
    lines = [
        f"| {' / '.join(results)} | goal | {' | '.join(engines)} |",
        "|---|---|" + "---|" * len(engines),
    ]
    for key, title, better, asked in MEASURES:
        goals = list(dict.fromkeys(f"{asked[table]:g}" for table in results if table in asked))
        sign = "" if not goals else ("≥ " if better > 0 else "≤ ") + " / ".join(goals)
        cells = [
            " / ".join(_shown(by_engine[engine].get(key)) for by_engine in results.values())
            for engine in engines
        ]
        lines.append(f"| {title} | {sign} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    """Three digits, or all before the point."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def machine() -> str:
    """What it ran on."""
    cpu = platform.processor() or platform.machine()
    try:
        names = [
            line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    except OSError:
        pass
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, {versions}"


ENGINES = ["lore", "lore thorough", "lore, pipeline", "lore_sa random", "lore_sa genetic"]


def build_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=["breast_cancer", "wine"], help="built-in data sets")
    parser.add_argument(
        "--csv", nargs="*", default=[], metavar="NAME=PATH:TARGET", help="other tables, such as COMPAS"
    )
    parser.add_argument(
        "--versions",
        nargs="*",
        default=[],
        metavar="NAME=URI",
        help="explain this version of a table of --csv, such as models:/proto_model@challenger",
    )
    parser.add_argument(
        "--held", action="store_true", help="hold sensitive features fixed in counterfactuals, as by default"
    )
    parser.add_argument("--adult", metavar="PATH", help="the Adult table as CSV")
    parser.add_argument(
        "--rows", type=int, default=MIN_ROWS, help=f"held-out rows per table, at least {MIN_ROWS}"
    )
    parser.add_argument(
        "--background", choices=["synthetic", "rows"], default="synthetic", help="what rows are compared with"
    )
    parser.add_argument("--seeds", type=int, default=5, help="for the stability of our engine's rules")
    parser.add_argument(
        "--engines", nargs="*", default=ENGINES, choices=ENGINES, metavar="ENGINE", help=", ".join(ENGINES)
    )
    parser.add_argument(
        "--figure", type=Path, help="draw an example into this file, and measure nothing else"
    )
    parser.add_argument(
        "--reach",
        type=Path,
        help="draw possible and found distances on Adult into this file, and measure nothing else",
    )
    parser.add_argument("--markdown", type=Path, help="file for the table of the documentation")
    parser.add_argument("--json", type=Path, default=Path("build/explain.json"), help="file for the numbers")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    args = build_parser().parse_args(argv)
    if args.rows < MIN_ROWS:
        build_parser().error(f"--rows must be at least {MIN_ROWS}, got {args.rows}")
    if args.figure is not None:
        example(load("breast_cancer", "breast_cancer")).savefig(args.figure, dpi=80)
        return 0
    if args.reach is not None:
        if not args.adult:
            build_parser().error("--reach needs --adult")
        print(reach_of_adult(load(args.adult, "adult"), args.reach, args.rows))
        return 0
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tables: list[tuple[str, str, str | None]] = [("adult", args.adult, None)] if args.adult else []
    tables += [(name, name, None) for name in args.tables]
    for given in args.csv:
        name, place = given.split("=", 1)
        tables.append((name, *place.rsplit(":", 1)))
    versions = dict(given.split("=", 1) for given in args.versions)
    with threadpool_limits(1):
        results = {
            name: run(
                load_version(dataset, name, target, versions[name])
                if name in versions
                else load(dataset, name, target),
                args.rows, args.seeds, args.engines, args.background, args.held,
            )
            for name, dataset, target in tables
        }  # fmt: skip
    args.json.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "rows": args.rows,
        "background": args.background,
        "results": results,
    }
    args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if args.markdown is not None:
        args.markdown.write_text(summary(results), encoding="utf-8")
    print(
        f"{machine()}; {args.rows} held-out rows per table, {args.background} background\n\n{report(results)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
