"""What a forest would predict, without the forest: the inner loop of the search.

On a small table scikit-learn takes far longer to prepare a tree (a clone, checks of parameters and labels,
two random generators) than to grow it, and holds the GIL meanwhile. Here all that is done once per forest.
The trees are grown by scikit-learn's own builder with the same random numbers: the predictions are the same.

The builder is private to scikit-learn. So this is done with the versions that it was tested with and for
the parameters that are known here; otherwise the forest is fitted as usual, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

_IS_TESTED = sklearn.__version__.startswith("1.9.")

if _IS_TESTED:
    from sklearn.tree._criterion import Entropy, Gini
    from sklearn.tree._splitter import BestSplitter, RandomSplitter
    from sklearn.tree._tree import DepthFirstTreeBuilder, Tree

    _SPLITTERS = {RandomForestClassifier: BestSplitter, ExtraTreesClassifier: RandomSplitter}
    _CRITERIA = {"gini": Gini, "entropy": Entropy, "log_loss": Entropy}

_CLASS_WEIGHTS = (None, "balanced", "balanced_subsample")
_KNOWN = {
    "n_estimators", "criterion", "max_depth", "min_samples_split", "min_samples_leaf", "max_features",
    "class_weight", "bootstrap", "random_state", "n_jobs",
}  # fmt: skip
_MAX_INT = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Votes:
    """What the trees of a forest that has been grown so far say of held-out rows."""

    sums: NDArray[np.float64]  # of the trees' probabilities, or the whole forest's; a column per known class
    n_trees: int
    n_nodes: int  # of the trees so far: what the forest costs to keep and to ask
    classes: NDArray[np.int64]  # those among the rows learned from
    is_whole: bool  # fitted by scikit-learn, all at once

    def probabilities(self, n_classes: int) -> NDArray[np.float64]:
        """Class probabilities, shape (n_held_out, n_classes); 0 for a class that was not learned from."""
        probabilities = np.zeros((len(self.sums), n_classes))
        probabilities[:, self.classes] = self.sums if self.is_whole else self.sums / self.n_trees
        return probabilities


def held_out_votes(
    forest: Any,
    X: NDArray[np.float32],
    y: NDArray[np.int64],
    X_held_out: NDArray[np.float32],
    n_trees: int | None = None,
    before: Votes | None = None,
) -> Votes:
    """Votes of the first trees of a forest, or of all, learned from some rows, on others.

    With all trees their probabilities are those of `forest.fit(X, y).predict_proba(X_held_out)`. Trees that
    have voted `before`, with the same forest and rows, are not grown again. Rows are float32, with NaN where
    a value is missing. A forest whose trees cannot be grown here is fitted as a whole, whatever `n_trees`;
    any other is left unfitted. A ValueError says that scikit-learn refuses a parameter.
    """
    if before is not None and before.is_whole:
        return before
    classes, codes = np.unique(y, return_inverse=True)
    if _is_known(forest):
        forest._validate_params()
        last = forest.n_estimators if n_trees is None else min(n_trees, forest.n_estimators)
        return _grown(forest, X, codes, X_held_out, last, before or _no_votes(classes, len(X_held_out)))
    probabilities = forest.fit(X, y).predict_proba(X_held_out)
    trees = np.ravel(getattr(forest, "estimators_", [forest])).tolist()
    return Votes(probabilities, len(trees), sum(tree.tree_.node_count for tree in trees), classes, True)


def _no_votes(classes: NDArray[np.int64], n_held_out: int) -> Votes:
    return Votes(np.zeros((n_held_out, len(classes))), 0, 0, classes, False)


def _is_known(forest: Any) -> bool:
    """Whether it differs from the defaults of scikit-learn only where this module looks."""
    kind = type(forest)
    if not _IS_TESTED or kind not in _SPLITTERS:
        return False
    given, defaults = forest.get_params(deep=False), kind().get_params(deep=False)
    return (
        all(given[name] == defaults[name] for name in given.keys() - _KNOWN)
        and given["criterion"] in _CRITERIA
        and given["class_weight"] in _CLASS_WEIGHTS
        and isinstance(given["random_state"], int)
        and all(isinstance(given[name], int) for name in ("min_samples_split", "min_samples_leaf"))
    )


def _grown(
    forest: Any,
    X: NDArray[np.float32],
    y: NDArray[np.int64],
    X_held_out: NDArray[np.float32],
    n_trees: int,
    before: Votes,
) -> Votes:
    """Votes of the first trees, those that have voted before included; `y` has codes without gaps."""
    n_classes = len(before.classes)
    n_samples, n_features = X.shape
    per_bootstrap = forest.bootstrap and forest.class_weight == "balanced_subsample"
    weights = None
    if forest.class_weight is not None and not per_bootstrap:
        weights = _balancing(y, n_classes)[y]
    chances = None if weights is None else weights / np.sum(weights)
    leaf = forest.min_samples_leaf
    split = max(forest.min_samples_split, 2 * leaf)
    depth = _MAX_INT if forest.max_depth is None else forest.max_depth
    max_features = _feature_count(forest.max_features, n_features)
    criterion, splitter = _CRITERIA[forest.criterion], _SPLITTERS[type(forest)]
    target = y.astype(np.float64).reshape(-1, 1)
    shape = np.array([n_classes], dtype=np.intp)
    missing = np.isnan(X).any(axis=0)

    sums, n_nodes = before.sums.copy(), before.n_nodes
    generator = np.random.RandomState(forest.random_state)
    for seed in generator.randint(_MAX_INT, size=n_trees)[before.n_trees :]:
        if forest.bootstrap:
            generator.seed(seed)  # 60 times as fast as a new generator
            drawn = (
                generator.randint(0, n_samples, n_samples)
                if chances is None
                else generator.choice(n_samples, n_samples, replace=True, p=chances)
            )
            weights = np.bincount(drawn, minlength=n_samples).astype(np.float64)
            if per_bootstrap:
                weights *= _balancing(y[drawn], n_classes)[y]
        # scikit-learn seeds twice with the same number: for the bootstrap and for the tree.
        generator.seed(seed)
        tree = Tree(n_features, shape, 1)
        grown = splitter(criterion(1, shape), max_features, leaf, 0.0, generator, None)
        DepthFirstTreeBuilder(grown, split, leaf, 0.0, depth, 0.0).build(
            tree, X, target, weights, missing if missing.any() else None
        )
        sums += tree.predict(X_held_out)
        n_nodes += tree.node_count
    return Votes(sums, max(n_trees, before.n_trees), n_nodes, before.classes, False)


def _balancing(y: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Weight of each class, as `class_weight="balanced"` has it; 0 for one without rows."""
    counts = np.bincount(y, minlength=n_classes)
    present = counts > 0
    return np.where(present, len(y) / (present.sum() * np.maximum(counts, 1)), 0.0)


def _feature_count(max_features: str | float | None, n_features: int) -> int:
    """How many features each split looks at."""
    if max_features is None:
        return n_features
    if isinstance(max_features, int):
        return max_features
    if isinstance(max_features, str):
        return max(1, int(np.sqrt(n_features) if max_features == "sqrt" else np.log2(n_features)))
    return max(1, int(max_features * n_features))
