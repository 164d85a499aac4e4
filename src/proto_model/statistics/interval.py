"""An estimate with the interval that it is known to lie in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its confidence interval, `low <= estimate <= high`.

    Of what is not defined for the rows, such as the recall of a class without rows, there is no interval:
    functions leave it out.
    """

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    def shown(self, digits: int = 3) -> str:
        """Estimate and ends as a report shows them.

        Examples
        --------
        >>> Interval(0.9571, 0.9312, 0.9804).shown()
        '0.957 (0.931 to 0.980)'
        """
        return f"{self.estimate:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"
