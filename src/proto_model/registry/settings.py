"""What a training run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainingSettings"]


@dataclass(frozen=True)
class TrainingSettings:
    """Parameters of one training run; their names are those of the MLproject file.

    Parameters
    ----------
    dataset : str
        Built-in name, path or http(s) URL of a table.
    target : str
        Column to predict; empty for the column called target, class, label or y.
    test_size : float
        Share of the rows that only judge, above 0 and below 1.
    random_state : int
        Seed of searches and forests; the split does not depend on it.
    n_candidates : int
        Hyperparameter settings that each variant's search tries.
    registered_model_name : str
        Registered model that gets the versions.
    file_management : bool
        Whether the models take presigned URLs of files rather than rows.
    """

    dataset: str = "breast_cancer"
    target: str = ""
    test_size: float = 0.2
    random_state: int = 0
    n_candidates: int = 8
    registered_model_name: str = "proto_model"
    file_management: bool = False

    def as_params(self) -> dict[str, str]:
        """Texts that `mlflow run` logs for these settings, but for what may be secret in a URL."""
        # Here, since numpy comes along, which --help should not wait for.
        from proto_model.table.download import is_url, shown_url

        return {
            "file_management": str(self.file_management).lower(),
            "dataset": shown_url(self.dataset) if is_url(self.dataset) else self.dataset,
            "target": self.target,
            "test_size": str(self.test_size),
            "random_state": str(self.random_state),
            "n_candidates": str(self.n_candidates),
            "registered_model_name": self.registered_model_name,
        }
