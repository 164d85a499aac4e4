"""Whether a challenger is superior: a pure function of the difference, its interval and what was asked."""

from __future__ import annotations

from dataclasses import dataclass

from proto_model.errors import InputError

__all__ = ["Criteria", "Decision", "decide"]


@dataclass(frozen=True)
class Criteria:
    """What a challenger has to show to be superior. By default: a higher balanced accuracy.

    Parameters
    ----------
    min_improvement : float
        Smallest difference in balanced accuracy that counts, from 0 to 1.
    confidence : float or None
        When given, this confidence interval of the difference has to lie above zero.

    Raises
    ------
    InputError
        If one of them is out of range.
    """

    min_improvement: float = 0.0
    confidence: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.min_improvement <= 1:
            raise InputError(f"min_improvement {self.min_improvement} given, a number from 0 to 1 expected.")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise InputError(f"confidence {self.confidence} given, a number between 0 and 1 expected.")


@dataclass(frozen=True)
class Decision:
    """Whether the challenger is superior, and the sentence that says why."""

    superior: bool
    reason: str


def decide(difference: float, interval: tuple[float, float], criteria: Criteria) -> Decision:
    """Whether a challenger is superior to the champion.

    Parameters
    ----------
    difference : float
        Balanced accuracy of the challenger minus that of the champion.
    interval : tuple of float
        Confidence interval of the difference, at `criteria.confidence` if that is given.
    criteria : Criteria
        What is asked for.

    Returns
    -------
    Decision

    Examples
    --------
    >>> decide(0.02, (-0.01, 0.05), Criteria()).superior
    True
    >>> print(decide(0.02, (-0.01, 0.05), Criteria(min_improvement=0.03)).reason)
    The challenger's balanced accuracy is higher by 0.0200, but at least 0.03 was asked for.
    """
    if difference == 0:
        return Decision(False, "Champion and challenger have the same balanced accuracy.")
    if difference < 0:
        return Decision(False, f"The challenger's balanced accuracy is lower by {-difference:.4f}.")
    higher = f"The challenger's balanced accuracy is higher by {difference:.4f}"
    if difference < criteria.min_improvement:
        return Decision(False, f"{higher}, but at least {criteria.min_improvement:g} was asked for.")
    if criteria.confidence is None:
        return Decision(True, f"{higher}.")
    low, high = interval
    shown = f"its {100 * criteria.confidence:g} % confidence interval, {low:.4f} to {high:.4f},"
    if low <= 0:
        return Decision(False, f"{higher}, but {shown} includes zero.")
    return Decision(True, f"{higher}, and {shown} lies above zero.")
