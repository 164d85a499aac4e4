"""Rows explained per second in one call: by one core, by threads, and by worker processes.

    python benchmarks/explain_batch.py --adult adult.csv --rows 200 1000

Processes are timed with their start, as a caller has it, and again once they run. Every way has to give the
same bytes. The tables and forests are those of `explain.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Worker processes import this file too, so that what only the benchmark needs is imported where it is used.


class SavedForest:
    """A compiled forest that pickles as the name of its file, and answers on its caller's thread."""

    def __init__(self, path: str) -> None:
        from proto_model.forest import CompiledForest

        self.path = path
        self._forest = CompiledForest.load(path)

    def __reduce__(self) -> tuple[type[SavedForest], tuple[str]]:
        """The name of the file."""
        return SavedForest, (self.path,)

    def __call__(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Class probabilities."""
        return self._forest.predict_proba(X, n_threads=1)


def timed(explain: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of the fastest of some runs, and what it gave."""
    best, given = float("inf"), None
    for _ in range(repeats):
        started = time.perf_counter()
        given = explain()
        best = min(best, time.perf_counter() - started)
    return best, given


def measure(name: str, dataset: str, n_rows: list[int], repeats: int, folder: Path) -> list[str]:
    """Lines of the table for one data set."""
    import numpy as np
    from explain import load

    from proto_model.explanation import ProcessExplainer, make_explainer
    from proto_model.parameters import Parameters

    table = load(dataset, name)
    path = folder / f"{name}.npz"
    table.forest.save(path)
    explainer = make_explainer("lore", table.schema, table.X_train, SavedForest(str(path)))
    options, cores = Parameters(), sorted(os.sched_getaffinity(0))
    explainer.explain(table.X_test[:2], options)
    lines = []
    for n in n_rows:
        rows = np.resize(table.X_test, (n, table.X_test.shape[1]))
        rows[:, 0] += np.arange(n) // len(table.X_test)  # no row twice
        os.sched_setaffinity(0, cores[:1])
        one, expected = timed(lambda rows=rows: explainer.explain(rows, options), repeats)
        os.sched_setaffinity(0, cores)
        threads, by_threads = timed(lambda rows=rows: explainer.explain(rows, options), repeats)

        def cold(rows: Any = rows) -> Any:
            with ProcessExplainer(explainer) as many:
                return many.explain(rows, options)

        started, by_processes = timed(cold, repeats)
        with ProcessExplainer(explainer) as many:
            many.explain(rows[: max(100, 16 * len(cores))], options)
            warm, _ = timed(lambda rows=rows, many=many: many.explain(rows, options), repeats)
        if not json.dumps(expected) == json.dumps(by_threads) == json.dumps(by_processes):
            raise AssertionError(f"{name}: not the same bytes")
        gains = ", ".join(f"{one / seconds:.2f}" for seconds in (threads, started, warm))
        speeds = " | ".join(f"{n / seconds:.0f}" for seconds in (one, threads, started, warm))
        lines.append(f"| {name} | {n} | {speeds} | {gains} |")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=["breast_cancer", "wine"], help="built-in data sets")
    parser.add_argument("--adult", metavar="PATH", help="the Adult table as CSV")
    parser.add_argument("--rows", nargs="+", type=int, default=[200], help="rows per call")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    args = parser.parse_args(argv)
    tables = [("adult", args.adult)] if args.adult else []
    n_cores = len(os.sched_getaffinity(0))
    print(
        f"| rows/s | rows | 1 core | {n_cores} cores: threads | processes, with start | running | gain |\n"
        "|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, dataset in [*tables, *((name, name) for name in args.tables)]:
            for line in measure(name, dataset, args.rows, args.repeats, Path(folder)):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
