"""What a user should know of a searched variant before trusting it, and how all cautions are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.table import TrainingData
from proto_model.table.caution import Caution
from proto_model.table.cautions import named, spelt, to_drop
from proto_model.training.selection.cautions import selection_cautions
from proto_model.training.selection.result import SearchResult

_GOOD = 0.8  # of the way from chance to perfect
_TIMES_MORE = 5.0  # that the first feature weighs than the second
_PERFECT_ROWS = 300
_PERFECT = 0.999
_Z = 3.290527  # two-sided, 99.9 %: a run has many classes and three variants
_OFF = 0.03  # a mean probability that is off by less misleads nobody


@dataclass(frozen=True)
class Judged:
    """A searched variant and what the test rows say about it: class indices, probabilities, importances."""

    result: SearchResult
    data: TrainingData
    y: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    importances: pd.DataFrame


def model_cautions(judged: Judged, known: Sequence[Caution] = ()) -> tuple[Caution, ...]:
    """What a searched variant and its test rows give reason to warn of, beyond what is known of the table."""
    leaks = {column for caution in known if caution.kind == "leak" for column in caution.columns}
    return (*_too_good(judged, leaks), *_biased(judged), *selection_cautions(judged.result))


def _too_good(judged: Judged, leaks: set[str]) -> Iterable[Caution]:
    """A score that one feature makes, or that has hardly an error; for the rest, leaks are known already."""
    score, chance = judged.result.cv_balanced_accuracy, 1 / len(judged.data.schema.classes)
    first, second = [*judged.importances["importance"], 0.0, 0.0][:2]
    top = str(judged.importances["feature"].iloc[0])
    advice = "If it is known only after the outcome, drop it"
    if score - chance >= _GOOD * (1 - chance) and first >= _TIMES_MORE * second:
        if top not in leaks:
            times = f"{first / second:.0f} times as much as" if second > 0 else "and nothing else but"
            yield Caution(
                "too_good",
                (top,),
                f"A balanced accuracy of {score:.3f} in cross-validation rests on `{top}`: it weighs "
                f"{times} any other feature. {advice}: {to_drop([top], judged.data)}.",
            )
    elif score >= _PERFECT and len(judged.data.y_train) >= _PERFECT_ROWS and not leaks:
        yield Caution(
            "too_good",
            (),
            f"Hardly an error in cross-validation: a balanced accuracy of {score:.4f} on "
            f"{len(judged.data.y_train):,} rows. Check that no feature is known only after the outcome, and "
            f"that no rows repeat; start with {named(list(judged.importances['feature'][:3]))}.",
        )


def _biased(judged: Judged) -> Iterable[Caution]:
    """Classes whose probabilities are too high or too low on average, beyond chance."""
    off = []
    for index, label in enumerate(judged.data.schema.classes):
        said = judged.probabilities[:, index]
        error = said - (judged.y == index)
        deviation = float(error.std()) / len(error) ** 0.5
        if abs(error.mean()) > max(_OFF, _Z * deviation) and len(error) > 1:
            off.append(f"{said.mean():.2f} instead of {(judged.y == index).mean():.2f} for {spelt(label)}")
    if off:
        yield Caution(
            "biased_probabilities",
            (),
            f"The mean probability on the test rows is not the share of the class: {'; '.join(off[:5])}. Do "
            "not read the probabilities of this variant as risks.",
        )
