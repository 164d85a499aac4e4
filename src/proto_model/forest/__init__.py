"""Forests compiled for the CPU at hand: scikit-learn's answers to the last bit, from one row to millions."""

from proto_model.forest.engine import CompiledForest, n_cores

__all__ = ["CompiledForest", "n_cores"]
