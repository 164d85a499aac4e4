"""What an expansion costs: forests with target encoding, dates and terms of a text against one without.

CPU time of one row and of 50,000 rows, in turns with a forest of eight numbers and a category that takes
coded columns as they are. Prints the median of the ratios, and the microseconds that one row takes more.

Example: python benchmarks/expansion.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from proto_model.forest.pipeline import compiled_forest
from proto_model.schema import Feature, ModelSchema
from proto_model.training.encoding import make_encoder
from proto_model.values import decode

N_ROWS = 2000
ROUNDS = 7
NUMBERS = [Feature(f"x{i}", "double", False, minimum=0.0, maximum=1.0, median=0.5) for i in range(8)]
LEVELS = tuple(f"{level:03}" for level in range(200))
PLAIN = (*NUMBERS, Feature("many", "string", False, LEVELS, most_frequent=LEVELS[0]))
RICH = (
    *PLAIN,
    Feature("day", "date", False, minimum=0.0, maximum=20000.0, median=10000.0),
    Feature("moment", "datetime", False, minimum=0.0, maximum=2e9, median=1e9),
    Feature("note", "text", False, terms=tuple(f"term{bit:02}" for bit in range(32))),
)


def main() -> None:
    """Run the comparison."""
    rng = np.random.default_rng(0)
    plain = np.column_stack([rng.random((N_ROWS, 8)), rng.integers(0, len(LEVELS), N_ROWS)])
    own = [rng.integers(0, most, N_ROWS) for most in (20_000, 2_000_000_000, 1 << 32)]
    rich = np.column_stack([plain, *own])
    y = (plain[:, 0] + plain[:, 1] > 1).astype(int)
    base = _forest(PLAIN, plain, y)
    rivals = {
        "the same again": (base, plain),
        "target encoding": (_forest(PLAIN, plain, y, categories="target"), plain),
        "a date, a time, 32 terms": (_forest(RICH, rich, y), rich),
    }
    print(f"{'forest':<26}{'one row, x':>12}{'µs more':>10}{'50,000 rows, x':>16}")
    for name, (forest, X) in rivals.items():
        one = [_pair(base, plain[:1], forest, X[:1], 2000) for _ in range(ROUNDS)]
        many = [_pair(base, np.tile(plain, (25, 1)), forest, np.tile(X, (25, 1)), 2) for _ in range(ROUNDS)]
        more = statistics.median(1e6 * (own - other) for other, own in one)
        ratios = [statistics.median(own / other for other, own in pairs) for pairs in (one, many)]
        print(f"{name:<26}{ratios[0]:>12.2f}{more:>10.1f}{ratios[1]:>16.2f}")


def _forest(
    features: tuple[Feature, ...], X: NDArray[np.float64], y: NDArray[np.int64], **options: Any
) -> Any:
    schema = ModelSchema("m", "kind", "long", (0, 1), features)
    forest = RandomForestClassifier(200, random_state=0, min_samples_leaf=5)
    pipeline = Pipeline([("encode", make_encoder(schema, **options)), ("forest", forest)])
    return compiled_forest(pipeline.fit(decode(X, schema), y), schema)


def _pair(
    base: Any, X_base: NDArray[np.float64], forest: Any, X: NDArray[np.float64], n: int
) -> tuple[float, float]:
    """CPU seconds of a call of each."""
    return _seconds(lambda: base.predict_proba(X_base, 1), n), _seconds(lambda: forest.predict_proba(X, 1), n)


def _seconds(call: Callable[[], Any], n: int) -> float:
    start = time.process_time()
    for _ in range(n):
        call()
    return (time.process_time() - start) / n


if __name__ == "__main__":
    main()
