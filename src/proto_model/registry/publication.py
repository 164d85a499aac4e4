"""From logged models to versions of the registered model, and the aliases that point at the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflow.entities.model_registry import ModelVersion

from proto_model.registry.settings import TrainingSettings
from proto_model.registry.versions import CHALLENGER, register_version, set_alias
from proto_model.table import TrainingData
from proto_model.training.leader_board import Standing

__all__ = ["explainer_name", "publish", "publish_explainer"]


def explainer_name(settings: TrainingSettings) -> str:
    """Registered model of the explainers that belong to a registered model."""
    return f"{settings.registered_model_name}_explainer"


def publish(
    standings: Sequence[Standing],
    model_uris: Mapping[str, str],
    data: TrainingData,
    settings: TrainingSettings,
    parent_run_id: str,
) -> dict[str, ModelVersion]:
    """Register every variant; the first gets the alias `challenger`.

    Parameters
    ----------
    standings : sequence of Standing
        The best first.
    model_uris : mapping
        Variant to URI of its logged model.
    data : TrainingData
        What the variants were trained and judged on.
    settings : TrainingSettings
        For the registered model's name.
    parent_run_id : str
        Run that holds the split.

    Returns
    -------
    dict
        Variant to its new version.
    """
    name = settings.registered_model_name
    versions = {
        standing.variant: register_version(
            model_uris[standing.variant],
            name,
            run_id=standing.run_id,
            description=_description(standing, data),
            tags=_tags(standing, data, settings, parent_run_id),
        )
        # The best one last, so that the newest version of a run is the one to look at first.
        for standing in reversed(standings)
    }
    set_alias(name, CHALLENGER, versions[standings[0].variant].version)
    return versions


def publish_explainer(
    model_uri: str,
    best: Standing,
    explained: ModelVersion,
    data: TrainingData,
    settings: TrainingSettings,
    parent_run_id: str,
) -> ModelVersion:
    """Register the explainer of the best variant, with the alias `challenger` too."""
    return register_version(
        model_uri,
        explainer_name(settings),
        run_id=best.run_id,
        description=f"Explains version {explained.version} of {explained.name} ({best.variant}).",
        tags=_tags(best, data, settings, parent_run_id)
        | {"explained_model": explained.name, "explained_version": str(explained.version)},
        alias=CHALLENGER,
    )


def _description(standing: Standing, data: TrainingData) -> str:
    return (
        f"{standing.variant} that predicts {data.schema.target} of {data.name}: balanced accuracy "
        f"{standing.cv_balanced_accuracy:.4f} ± {standing.cv_std:.4f} in cross-validation, "
        f"{standing.metrics['balanced_accuracy']:.4f} on {len(data.y_test)} test rows. "
        f"The model card is `model_card.md` of run {standing.run_id}."
    )


def _tags(
    standing: Standing, data: TrainingData, settings: TrainingSettings, parent_run_id: str
) -> dict[str, str]:
    return {
        "variant": standing.variant,
        "dataset": data.name,
        "signature": "file" if settings.file_management else "rows",
        "split_run_id": parent_run_id,
        "split_digest": data.split_digest,
        "schema_digest": data.schema.digest,
        "cv_balanced_accuracy": f"{standing.cv_balanced_accuracy:.6f}",
        "test_balanced_accuracy": f"{standing.metrics['balanced_accuracy']:.6f}",
    }
