"""What a comparison asks of a challenger, and whether it has shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from proto_model.errors import InputError, listed
from proto_model.registry.promotion.comparison import PairedCounts
from proto_model.registry.promotion.gate_verdicts import GateResult
from proto_model.registry.promotion.gates import Gate
from proto_model.statistics import Attempts, PromotionRule, PromotionVerdict, judge_promotion

_SMALLEST = 1e-6

Outcome = Literal["promoted", "kept", "not_enough_rows"]


@dataclass(frozen=True)
class Criteria:
    """What a challenger has to show to take over.

    With the rule "evidence" it has to be better with a probability that an equal one reaches in 5 % of cases
    at most (in (1 - `confidence`) / 2, if given), and must not be worse by more than `margin` with one that a
    worse one reaches in 1 %; better means better by more than `min_improvement`. If `sequential`, both shares
    are those of all attempts against one champion together. With the rule "point" a higher balanced accuracy
    is enough, by `min_improvement` at least, and with a `confidence` that interval has to be above zero.

    Each gate has to be passed; with `allow_unsure` it is enough that it has not failed. The challenger takes
    what the champion takes, rows or files, unless `allow_signature_change`. An InputError says which value is
    out of range.
    """

    min_improvement: float = 0.0
    confidence: float | None = None
    allow_signature_change: bool = False
    rule: Literal["evidence", "point"] = "evidence"
    margin: float = 0.02
    sequential: bool = True
    gates: tuple[Gate, ...] = ()
    allow_unsure: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.min_improvement <= 1:
            raise InputError(f"min_improvement {self.min_improvement} given, a number from 0 to 1 expected.")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise InputError(f"confidence {self.confidence} given, a number between 0 and 1 expected.")
        if not 0 <= self.margin < 1:
            raise InputError(f"margin {self.margin} given, a number from 0 to below 1 expected.")

    @property
    def interval_confidence(self) -> float:
        """Confidence of the interval that is shown."""
        return 0.95 if self.confidence is None else self.confidence

    def promotion_rule(self, share: float) -> PromotionRule:
        """Levels of one attempt that may use a share of them."""
        own = {} if self.confidence is None else {"equal_error": (1 - self.confidence) / 2}
        return PromotionRule(margin=self.margin, share=share, **own)

    def to_dict(self) -> dict[str, Any]:
        """JSON object; gates as they were written."""
        return asdict(self) | {"gates": [gate.text for gate in self.gates]}


@dataclass(frozen=True)
class Attempt:
    """Which attempt against this champion a comparison is, and the share of the allowed error it may use."""

    number: int
    share: float
    champion: str


@dataclass(frozen=True)
class Decision:
    """Whether the challenger takes over, and the sentences that say why.

    `promotion` is None for a first champion and for the rule "point".
    """

    outcome: Outcome
    reason: str
    promotion: PromotionVerdict | None = None
    gates: tuple[GateResult, ...] = ()
    attempt: Attempt | None = None

    def to_dict(self) -> dict[str, Any]:
        """What a report says of evidence, gates and attempt."""
        return {
            "evidence": None if self.promotion is None else _evidence(self.promotion),
            "gates": [result.to_dict() for result in self.gates],
            "attempt": None if self.attempt is None else asdict(self.attempt),
        }


def _evidence(promotion: PromotionVerdict) -> dict[str, Any]:
    names = ("verdict", "p_better", "p_better_asked", "p_worse", "p_worse_allowed")
    needed = None if promotion.needed is None else asdict(promotion.needed)
    return {name: getattr(promotion, name) for name in names} | {"rows_needed": needed}


def attempt_of(attempts: Attempts, identity: str, criteria: Criteria) -> Attempt:
    """What is known of an attempt; without `sequential` it may use all of the error."""
    share = attempts.share_of(identity) if criteria.sequential else 1.0
    return Attempt(attempts.number_of(identity), share, attempts.champion)


def decide(
    counts: PairedCounts, criteria: Criteria, attempt: Attempt, gates: Sequence[GateResult] = ()
) -> Decision:
    """Whether a challenger takes over from the champion.

    In `counts`, "first" is the champion.
    """
    first, second = counts.scores()
    if criteria.rule == "point":
        outcome, reason = _by_points(round(second - first, 12) + 0.0, counts, criteria)
        promotion = None
    else:
        promotion = judge_promotion(
            counts.n_rows,
            counts.first_only,
            counts.second_only,
            criteria.promotion_rule(attempt.share),
            min_improvement=criteria.min_improvement,
            confidence=criteria.interval_confidence,
        )
        outcome, reason = _by_evidence(promotion, criteria, attempt)
    outcome, reason = _with_gates(outcome, reason, gates, criteria)
    return Decision(outcome, reason, promotion, tuple(gates), attempt)


def decide_alone(name: str, criteria: Criteria, gates: Sequence[GateResult] = ()) -> Decision:
    """Whether a challenger becomes the first champion: only gates can keep it from that."""
    outcome, reason = _with_gates("promoted", "", gates, criteria)
    alone = f"There was no champion of {name!r} yet"
    if outcome == "promoted":
        alone += ", so the challenger is promoted without a comparison"
    return Decision(outcome, f"{alone}. {reason}".strip(), gates=tuple(gates))


def _by_points(difference: float, counts: PairedCounts, criteria: Criteria) -> tuple[Outcome, str]:
    if difference == 0:
        return "kept", "Champion and challenger have the same balanced accuracy."
    if difference < 0:
        return "kept", f"The challenger's balanced accuracy is lower by {-difference:.4f}."
    higher = f"The challenger's balanced accuracy is higher by {difference:.4f}"
    if difference < criteria.min_improvement:
        return "kept", f"{higher}, but at least {criteria.min_improvement:g} is required."
    if criteria.confidence is None:
        return "promoted", f"{higher}."
    low, high = counts.evidence(criteria.confidence).bounds(criteria.confidence)
    shown = f"its {100 * criteria.confidence:g} % confidence interval, {low:.4f} to {high:.4f},"
    if low <= 0:
        return "kept", f"{higher}, but {shown} includes zero."
    return "promoted", f"{higher}, and {shown} is above zero."


def _by_evidence(promotion: PromotionVerdict, criteria: Criteria, attempt: Attempt) -> tuple[Outcome, str]:
    difference = promotion.evidence.difference
    by = f" by more than {criteria.min_improvement:g}" if criteria.min_improvement else ""
    if difference == 0:
        return "kept", "Champion and challenger have the same balanced accuracy."
    if promotion.verdict == "not better":
        if difference < 0:
            return "kept", f"The challenger's balanced accuracy is lower by {-difference:.4f}."
        return "kept", f"The challenger's balanced accuracy is higher by {difference:.4f}, but not{by}."
    asked = (
        f"It is better{by} with probability {shown_probability(promotion.p_better)} "
        f"({shown_probability(promotion.p_better_asked)} asked for{_which(attempt)}), and worse by more than "
        f"{criteria.margin:g} with {shown_probability(promotion.p_worse)} "
        f"({shown_probability(promotion.p_worse_allowed)} allowed)."
    )
    higher = f"The challenger's balanced accuracy is higher by {difference:.4f}."
    if promotion.verdict == "better":
        return "promoted", f"{higher} {asked}"
    needed = promotion.needed
    more = "" if needed is None else (
        f": about {needed.more} more needed, if the difference is what it seems, for a decision in "
        f"{100 * needed.power:g} % of cases"
    )  # fmt: skip
    return "not_enough_rows", f"Not enough rows to tell{more}. {higher} {asked}"


def _which(attempt: Attempt) -> str:
    if attempt.number == 1 or attempt.share == 1:
        return ""
    return f" in attempt {attempt.number} since version {attempt.champion} became champion"


def shown_probability(value: float) -> str:
    """A probability with as many digits as tell it from 0 and 1.

    Examples
    --------
    >>> shown_probability(0.98764), shown_probability(0.00004), shown_probability(1.0)
    ('0.988', '0.00004', 'more than 0.999999')
    """
    if value > 1 - _SMALLEST:
        return f"more than {1 - _SMALLEST:f}"
    if value < _SMALLEST:
        return f"less than {_SMALLEST:f}"
    digits = next(digits for digits in range(3, 8) if 0 < float(f"{value:.{digits}f}") < 1)
    return f"{value:.{digits}f}".rstrip("0")


def _with_gates(
    outcome: Outcome, reason: str, gates: Sequence[GateResult], criteria: Criteria
) -> tuple[Outcome, str]:
    """The outcome after the gates, which can only keep a challenger from its promotion."""
    failed = [result.gate.text for result in gates if result.outcome == "failed"]
    unsure = [result for result in gates if result.outcome == "not enough rows"]
    if failed:
        return "kept", f"{reason} Failed: {listed(failed)}.".strip()
    if not unsure:
        return outcome, reason
    needed = max((result.verdict.rows_needed or 0) for result in unsure if result.verdict is not None)
    more = f" (about {needed} needed)" if needed else ""
    told = f"{reason} Not enough rows{more} for {listed([result.gate.text for result in unsure])}"
    if criteria.allow_unsure:
        return outcome, f"{told}, which is allowed."
    return ("not_enough_rows" if outcome == "promoted" else outcome), f"{told}."
