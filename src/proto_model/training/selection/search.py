"""The search for each variant's best hyperparameters, by cross-validation on the training rows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.errors import DataError
from proto_model.table.training_data import TrainingData
from proto_model.training.selection import choice, scoring
from proto_model.training.selection.cross_validation import (
    CrossValidation,
    FoldRows,
    SearchProgress,
    UrgentFirst,
)
from proto_model.training.selection.references import judged_references
from proto_model.training.selection.result import FoldScores, Reference, SearchResult
from proto_model.training.selection.variants import VARIANTS, Variant, candidates, make_pipeline

_SWITCH_S = 0.0002
_FIRST = -1  # urgency of the references, which the first result needs


@contextmanager
def searches(
    variants: Iterable[Variant | str],
    data: TrainingData,
    n_candidates: int = 8,
    random_state: int = 0,
    progress: SearchProgress | None = None,
    n_jobs: int | None = None,
    metric: str = choice.DEFAULT_METRIC,
) -> Iterator[Iterator[SearchResult]]:
    """Best of each variant's defaults and of random draws from its space, one variant after the other.

    Scored by a metric of the evaluation over the folds, the same for all candidates and variants, among them
    the references that each result comes with. Of four candidates or more, only the best quarter is grown
    whole; of these, the smallest forest is taken whose score is within one standard error of the best. The
    result depends on `random_state`, not on `n_jobs`, the number of forests to grow at the same time (None
    for one per core). While the caller works on a result, the next searches go on; when the context is left,
    those that are not done end after the fits at hand.
    """
    if n_candidates < 1:
        raise ValueError(f"n_candidates {n_candidates} given, 1 or more expected.")
    scoring.metric_called(metric)
    n_threads = n_jobs or os.cpu_count() or 1
    rows = FoldRows.of(data, random_state)
    interval = sys.getswitchinterval()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            # A thread that has grown a tree should not wait 5 ms for one that draws a plot meanwhile.
            sys.setswitchinterval(_SWITCH_S)
            tasks = UrgentFirst(pool)
            references: Future[tuple[Reference, ...]] = Future()
            tasks.submit(_FIRST, _into(references, lambda: judged_references(rows, random_state)))
            begun = []
            for number, variant in enumerate(variants):
                chosen = VARIANTS[variant] if isinstance(variant, str) else variant
                drawn = candidates(chosen, data.schema, n_candidates, random_state)
                begun.append(CrossValidation(chosen, drawn, rows, metric, random_state, progress))
                begun[-1].start(tasks, number)
            yield (_result(scored, data, random_state, n_threads, references) for scored in begun)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            sys.setswitchinterval(interval)


def _into(
    future: Future[tuple[Reference, ...]], compute: Callable[[], tuple[Reference, ...]]
) -> Callable[[], None]:
    """Task that leaves its result, or what it raised, in a future."""

    def task() -> None:
        try:
            future.set_result(compute())
        except BaseException as error:  # told to whoever waits
            future.set_exception(error)

    return task


def _result(
    scored: CrossValidation,
    data: TrainingData,
    random_state: int,
    n_threads: int,
    references: Future[tuple[Reference, ...]],
) -> SearchResult:
    """Chosen candidate, fitted on all training rows, once all fits on folds are done."""
    duration, beside = scored.wait(), references.result()
    chosen = _chosen(scored)
    started = time.perf_counter()
    pipeline = make_pipeline(scored.variant, data.schema, random_state, **scored.candidates[chosen])
    # scikit-learn refuses labels such as 0.5, so the forest learns codes and is told its labels afterwards.
    classes, codes = np.unique(data.y_train, return_inverse=True)
    pipeline.set_params(forest__n_jobs=n_threads).fit(data.X_train, codes)
    pipeline.set_params(forest__n_jobs=None).named_steps["forest"].classes_ = classes
    out_of_fold = scored.out_of_fold(chosen)
    folds = _fold_scores(scored.rows, out_of_fold)
    return SearchResult(
        variant=scored.variant.name,
        pipeline=pipeline,
        best_params=scored.candidates[chosen],
        cv_balanced_accuracy=folds.mean("balanced_accuracy"),
        cv_std=float(folds.by_metric["balanced_accuracy"].std()),
        table=_table(scored, chosen),
        fit_seconds=duration + time.perf_counter() - started,
        out_of_fold=out_of_fold,
        metric=scored.metric,
        folds=folds,
        n_nodes=float(scored.n_nodes[chosen].mean()),
        references=beside,
    )


def _chosen(scored: CrossValidation) -> int:
    """Smallest finalist among those that cannot be told from the best."""
    losses, sizes = scored.losses(), scored.n_nodes[scored.finalists].mean(axis=1)
    if not np.isfinite(losses).all(axis=0).any():
        raise DataError(
            f"{scored.metric} is not defined in any fold of the training rows, so it cannot choose a model: "
            f"no fold has rows of all classes that it needs. Choose by {choice.DEFAULT_METRIC}."
        )
    return int(scored.finalists[choice.choose(losses, scored.rows.weights, sizes).index])


def _fold_scores(rows: FoldRows, out_of_fold: NDArray[np.float64]) -> FoldScores:
    """Every metric of the chosen candidate on each fold."""
    found = [scoring.scores(rows.y[judge], out_of_fold[judge]) for _, judge in rows.folds]
    by_metric = {name: np.array([fold[name] for fold in found]) for name in found[0]}
    return FoldScores(by_metric, rows.weights)


def _table(scored: CrossValidation, chosen: int) -> pd.DataFrame:
    numbers = np.arange(len(scored.candidates))
    weights = scored.rows.weights
    columns = {"candidate": numbers, "chosen": numbers == chosen}
    balanced = scored.scores["balanced_accuracy"]
    columns |= {"cv_balanced_accuracy": choice.mean(balanced, weights), "cv_std": balanced.std(axis=1)}
    for name, values in scored.scores.items():
        columns.setdefault(f"cv_{name}", choice.mean(values, weights))
    columns |= {
        "n_trees": scored.n_trees.max(axis=1),
        "n_nodes": scored.n_nodes.mean(axis=1),
        "fit_seconds": scored.seconds.sum(axis=1),
    }
    folds = pd.DataFrame(scored.scores[scored.metric]).add_prefix("fold_")
    return pd.concat([pd.DataFrame(columns), pd.DataFrame(scored.candidates), folds], axis=1)
