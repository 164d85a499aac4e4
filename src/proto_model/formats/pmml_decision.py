"""Calibration and costs in PMML: a second model behind the forest, which scores its probabilities.

A regression with `simplemax` scales its scores to sum to 1 and takes the largest, as `Decision.scores` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from proto_model.formats.pmml_expressions import apply, constant, derived, field, total
from proto_model.model.decision import Calibration, Decision

Floats = NDArray[np.float64]


def decision_model(
    decision: Decision, target: str, labels: Sequence[str], shares: Sequence[str], output: str
) -> Iterator[str]:
    """Model from the forest's shares to the answer.

    `shares` and `labels` are in the order of the classes; `output` is its Output, whose probabilities are
    those of `probability_fields`.
    """
    yield '<RegressionModel functionName="classification" normalizationMethod="simplemax">\n<MiningSchema>\n'
    yield f'<MiningField name={quoteattr(target)} usageType="target"/>\n'
    yield from (f"<MiningField name={quoteattr(share)}/>\n" for share in shares)
    yield f"</MiningSchema>\n{output}<LocalTransformations>\n"
    names = probability_fields(shares)
    if decision.calibration is None:
        yield from (derived(name, field(share)) for name, share in zip(names, shares, strict=True))
    else:
        yield from _calibrated(decision.calibration, shares, names)
    scores = [f"score of {share}" for share in shares]
    if decision.costs is None:
        yield from (derived(score, field(name)) for score, name in zip(scores, names, strict=True))
    else:
        saved = decision.costs.max(axis=1, keepdims=True) - decision.costs
        for score, weights in zip(scores, saved.T.tolist(), strict=True):
            parts = zip(names, weights, strict=True)
            yield derived(score, total(apply("*", field(name), constant(weight)) for name, weight in parts))
    yield "</LocalTransformations>\n"
    for score, label in zip(scores, labels, strict=True):
        yield (
            f'<RegressionTable intercept="0" targetCategory={quoteattr(label)}>'
            f'<NumericPredictor name={quoteattr(score)} coefficient="1"/></RegressionTable>\n'
        )
    yield "</RegressionModel>\n"


def decision_fields(shares: Sequence[str]) -> list[str]:
    """All fields that `decision_model` may use."""
    return [
        *shares,
        *(f"{kind} of {share}" for kind in ("probability", "weight", "score") for share in shares),
    ]


def probability_fields(shares: Sequence[str]) -> list[str]:
    """Fields that hold the probabilities to answer with."""
    return [f"probability of {share}" for share in shares]


def _calibrated(calibration: Calibration, shares: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    if len(calibration.x) == 1:
        yield derived(names[1], _looked_up(shares[1], calibration.x[0], calibration.y[0]))
        yield derived(names[0], apply("-", constant(1.0), field(names[1])))
        return
    weights = [f"weight of {share}" for share in shares]
    for weight, share, x, y in zip(weights, shares, calibration.x, calibration.y, strict=True):
        yield derived(weight, _looked_up(share, x, y))
    whole = total(map(field, weights))
    for name, weight in zip(names, weights, strict=True):
        yield derived(name, apply("/", field(weight), whole))


def _looked_up(share: str, x: Floats, y: Floats) -> str:
    """What a table makes of a share: lines between its entries, flat before the first and behind the last."""
    if len(x) == 1:
        return constant(float(y[0]))
    norms = "".join(
        f'<LinearNorm orig="{at!r}" norm="{value!r}"/>'
        for at, value in zip(x.tolist(), y.tolist(), strict=True)
    )
    return f'<NormContinuous field={quoteattr(share)} outliers="asExtremeValues">{norms}</NormContinuous>'
