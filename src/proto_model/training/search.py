"""The search for a variant's best hyperparameters, by cross-validation on the training rows."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import ParameterSampler, StratifiedKFold
from sklearn.pipeline import Pipeline

from proto_model.data.training_data import TrainingData
from proto_model.training.growth import held_out_predictions
from proto_model.training.variants import VARIANTS, Variant, make_pipeline

__all__ = ["SearchResult", "search"]

_N_FOLDS = 5
_N_FOLDS_LARGE = 3  # enough where a fold's score hardly varies, and it halves the time
_LARGE_ROWS = 10_000


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    variant : str
        Name of the variant.
    pipeline : Pipeline
        Best candidate, fitted on all training rows.
    best_params : dict
        Parameters of its forest.
    cv_balanced_accuracy, cv_std : float
        Mean and standard deviation over the folds.
    table : DataFrame
        A row per candidate, the first being the variant's defaults: `candidate`, `chosen`,
        `cv_balanced_accuracy`, `cv_std`, `fit_seconds`, a column per parameter, and `fold_0`, `fold_1`, ...
    fit_seconds : float
        Duration of search and last fit.
    """

    variant: str
    pipeline: Pipeline
    best_params: dict[str, Any]
    cv_balanced_accuracy: float
    cv_std: float
    table: pd.DataFrame
    fit_seconds: float


def search(
    variant: Variant | str,
    data: TrainingData,
    n_candidates: int = 8,
    random_state: int = 0,
    progress: Callable[[str, int, int, float], None] | None = None,
    n_jobs: int | None = None,
) -> SearchResult:
    """Best of a variant's defaults and of random draws from its space.

    Scored by balanced accuracy over stratified folds, the same for all candidates and variants: five, three
    from 10 000 training rows on, fewer when a class is rarer than that. The result depends on `random_state`,
    not on `n_jobs`.

    Parameters
    ----------
    variant : Variant or str
        Kind of forest, or its name.
    data : TrainingData
        Only its training rows are looked at.
    n_candidates : int
        How many to try, the defaults included; at least 1.
    random_state : int
        Seed of the draws, the folds and the forests.
    progress : callable, optional
        Called after each fit with the variant's name, the fits done, the fits to do and the best mean score
        of a candidate so far (NaN before the first is complete).
    n_jobs : int, optional
        Forests to grow at the same time; None for one per core.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError
        If `n_candidates` is below 1.
    """
    if n_candidates < 1:
        raise ValueError(f"n_candidates is {n_candidates}; 1 or more are needed.")
    started = time.perf_counter()
    chosen = VARIANTS[variant] if isinstance(variant, str) else variant
    n_threads = n_jobs or os.cpu_count() or 1
    candidates = _candidates(chosen, n_candidates, random_state)
    scores, seconds = _cross_validate(chosen, candidates, data, random_state, progress, n_threads)
    best = int(np.argmax(scores.mean(axis=1)))

    pipeline = make_pipeline(chosen, data.schema, random_state, **candidates[best])
    # scikit-learn refuses labels such as 0.5, so the forest learns codes and is told its labels afterwards.
    classes, codes = np.unique(data.y_train, return_inverse=True)
    pipeline.set_params(forest__n_jobs=n_threads).fit(data.X_train, codes)
    pipeline.set_params(forest__n_jobs=None).named_steps["forest"].classes_ = classes
    return SearchResult(
        variant=chosen.name,
        pipeline=pipeline,
        best_params=candidates[best],
        cv_balanced_accuracy=float(scores[best].mean()),
        cv_std=float(scores[best].std()),
        table=_table(candidates, scores, seconds, best),
        fit_seconds=time.perf_counter() - started,
    )


def _candidates(variant: Variant, n_candidates: int, random_state: int) -> list[dict[str, Any]]:
    """Parameters of each candidate: the defaults, then draws without repetition."""
    n_draws = min(n_candidates - 1, int(np.prod([len(values) for values in variant.space.values()])))
    draws = ParameterSampler(variant.space, n_draws, random_state=random_state) if n_draws else []
    return [dict(variant.defaults), *({**variant.defaults, **draw} for draw in draws)]


def _cross_validate(
    variant: Variant,
    candidates: list[dict[str, Any]],
    data: TrainingData,
    random_state: int,
    progress: Callable[[str, int, int, float], None] | None,
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Balanced accuracy and seconds of each candidate (row) on each fold (column).

    The rows are coded once, outside the folds: coding a row looks at no other row. Growing a tree releases
    the GIL, so threads with a whole forest each keep all cores busy; pools inside each forest do not.
    """
    encoder = make_pipeline(variant, data.schema, random_state).named_steps["encode"]
    X = encoder.fit_transform(data.X_train).astype(np.float32)
    codes: NDArray[np.int64] = np.unique(data.y_train, return_inverse=True)[1]
    folds = _folds(codes, random_state)
    scores = np.full((len(candidates), len(folds)), np.nan)
    seconds = np.zeros_like(scores)

    def fit(candidate: int, fold: int) -> tuple[int, int, float, float]:
        started = time.perf_counter()
        learn, judge = folds[fold]
        forest = variant.forest(**candidates[candidate], random_state=random_state, n_jobs=1)
        y_pred = held_out_predictions(forest, X[learn], codes[learn], X[judge])
        score = _balanced_accuracy(codes[judge], y_pred)
        return candidate, fold, score, time.perf_counter() - started

    with ThreadPoolExecutor(n_threads) as pool:
        fits = [pool.submit(fit, c, f) for c in range(len(candidates)) for f in range(len(folds))]
        try:
            for done, finished in enumerate(as_completed(fits), start=1):
                candidate, fold, score, duration = finished.result()
                scores[candidate, fold], seconds[candidate, fold] = score, duration
                if progress is not None:
                    means = scores.mean(axis=1)
                    complete = means[~np.isnan(means)]
                    progress(variant.name, done, len(fits), complete.max() if len(complete) else np.nan)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return scores, seconds


def _folds(codes: NDArray[np.int64], random_state: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to learn from and rows to judge on, per fold; fewer folds when a class has fewer rows."""
    most = _N_FOLDS if len(codes) < _LARGE_ROWS else _N_FOLDS_LARGE
    n_folds = int(np.clip(np.bincount(codes).min(), 2, most))
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # A class of one row is learned from in one fold and judged in the other.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(codes, codes))


def _balanced_accuracy(y: NDArray[np.int64], y_pred: NDArray[np.int64]) -> float:
    """scikit-learn's balanced accuracy, without its warning when a class is predicted that the fold lacks."""
    n_rows = np.bincount(y)
    n_right = np.bincount(y[y == y_pred], minlength=len(n_rows))
    return float((n_right[n_rows > 0] / n_rows[n_rows > 0]).mean())


def _table(
    candidates: list[dict[str, Any]], scores: NDArray[np.float64], seconds: NDArray[np.float64], best: int
) -> pd.DataFrame:
    rows = [
        {
            "candidate": number,
            "chosen": number == best,
            "cv_balanced_accuracy": scores[number].mean(),
            "cv_std": scores[number].std(),
            "fit_seconds": seconds[number].sum(),
            **params,
            **{f"fold_{fold}": score for fold, score in enumerate(scores[number])},
        }
        for number, params in enumerate(candidates)
    ]
    return pd.DataFrame(rows)
