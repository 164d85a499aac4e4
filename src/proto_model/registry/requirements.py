"""The exact versions that a logged model asks for."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["pinned_requirements"]

# What loading, answering, explaining and file scoring import.
DISTRIBUTIONS = (
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "skops",
    "llvmlite",
    "orjson",
    "urllib3",
    "lore-sa",
)


def pinned_requirements() -> list[str]:
    """Requirement lines, pinned to what is installed here, where the model was made and tried."""
    return [f"{name}=={version(name)}" for name in DISTRIBUTIONS]
