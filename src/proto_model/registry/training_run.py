"""One training run against MLflow: a parent run, a child run per variant, versions and their aliases."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mlflow
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import PandasDataset
from rich.console import Console

from proto_model.errors import ProtoModelError
from proto_model.registry import record
from proto_model.registry.examples import log_example_explanations
from proto_model.registry.location import callers_folders, located_dataset
from proto_model.registry.logged_model import log_explainer, log_forest_model
from proto_model.registry.publication import publish, publish_explainer
from proto_model.registry.settings import TrainingSettings
from proto_model.registry.tracking import check_store
from proto_model.table import BUILT_IN, TrainingData, load_training_data
from proto_model.training import VARIANTS, SearchResult, leader_board, search_progress, searches
from proto_model.training.evaluation import leaderboard_plot, save
from proto_model.training.leader_board import Standing
from proto_model.training.verdict import judge

__all__ = ["TrainingOutcome", "train"]


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training run left behind.

    Parameters
    ----------
    run_id : str
        Child run of the best variant: `runs:/<run_id>/model` is the model to serve.
    parent_run_id : str
        Run that holds the split and the leader board.
    standings : tuple of Standing
        The variants, the best first.
    versions : dict
        Variant to its version of the registered model.
    explainer_version : str
        Version of the registered explainer.
    """

    run_id: str
    parent_run_id: str
    standings: tuple[Standing, ...]
    versions: dict[str, str]
    explainer_version: str


def train(settings: TrainingSettings, console: Console) -> TrainingOutcome:
    """Train, judge, log and register every variant.

    Goes to the tracking server that MLflow's environment variables name; under `mlflow run` into the run that
    it has begun. Nothing is registered unless all variants are done.

    Parameters
    ----------
    settings : TrainingSettings
        What to do.
    console : Console
        Where progress is shown.

    Returns
    -------
    TrainingOutcome

    Raises
    ------
    ProtoModelError
        If the tracking server cannot be used. If the data cannot be used: the run is marked as failed then,
        with the reason in its description.
    MlflowException
        If tracking server or registry fail later.
    """
    folders = callers_folders(os.environ, Path.cwd())
    check_store(mlflow.get_tracking_uri())
    record.forget_finished_run()
    with (
        mlflow.start_run(tags=record.environment_tags()) as parent,
        tempfile.TemporaryDirectory(prefix="proto_model_") as bundles,
    ):
        record.log_missing_params(settings.as_params())
        try:
            data = load_training_data(
                located_dataset(settings.dataset, folders, BUILT_IN),
                settings.target or None,
                settings.test_size,
                settings.registered_model_name,
            )
        except ProtoModelError as error:
            mlflow.set_tag("mlflow.note.content", f"Failed: {error}")
            raise
        _announce(data, console)
        inputs = record.dataset_inputs(data)
        standings, results, model_uris = [], {}, {}
        with (
            search_progress(console) as progress,
            searches(VARIANTS, data, settings.n_candidates, settings.random_state, progress) as found,
        ):
            _log_inputs(inputs)
            record.log_split(data)
            mlflow.set_tags({"split_digest": data.split_digest, "schema_digest": data.schema.digest})
            for result in found:
                name = result.variant
                standing, model_uris[name] = _log_variant(
                    result, data, settings, inputs, Path(bundles) / name / "bundle"
                )
                console.print(
                    f"{name}: judged on the test rows and logged, balanced accuracy "
                    f"{standing.metrics['balanced_accuracy']:.4f}",
                    highlight=False,
                    soft_wrap=True,
                )
                standings.append(standing)
                results[name] = result
        standings = leader_board.ranked(standings)
        best = standings[0]
        with mlflow.start_run(run_id=best.run_id, nested=True):
            pipeline = results[best.variant].pipeline
            explainer = log_explainer(pipeline, data, bundle=Path(bundles) / best.variant / "bundle")
            log_example_explanations(pipeline, data)
        versions = publish(standings, model_uris, data, settings, parent.info.run_id)
        explainer_version = publish_explainer(
            explainer.model_uri, best, versions[best.variant], data, settings, parent.info.run_id
        )
        _log_leader_board(standings, data)
    return TrainingOutcome(
        run_id=best.run_id,
        parent_run_id=parent.info.run_id,
        standings=tuple(standings),
        versions={name: str(version.version) for name, version in versions.items()},
        explainer_version=str(explainer_version.version),
    )


def _announce(data: TrainingData, console: Console) -> None:
    console.print(
        f"{data.name}: {data.n_rows:,} rows, {len(data.schema.features)} features, "
        f"{len(data.schema.classes)} classes of {data.schema.target!r}; {len(data.y_train):,} rows to train, "
        f"{len(data.y_test):,} to test (split {data.split_digest})",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    if data.n_unlabelled:
        console.print(
            f"  left out: {data.n_unlabelled:,} rows without a {data.schema.target!r}", markup=False
        )
    for column in data.dropped:
        console.print(
            f"  dropped column {column.name!r}: {column.reason}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def _log_variant(
    result: SearchResult,
    data: TrainingData,
    settings: TrainingSettings,
    inputs: dict[str, PandasDataset],
    bundle: Path,
) -> tuple[Standing, str]:
    """Child run of a variant; its standing and the URI of its logged model."""
    with mlflow.start_run(run_name=result.variant, nested=True, tags=record.environment_tags()) as child:
        mlflow.log_params(settings.as_params())
        record.log_search(result)
        _log_inputs(inputs)
        verdict = judge(result, data, settings.random_state)
        model = log_forest_model(
            result.pipeline, data, signature_kind=_signature_kind(settings), bundle=bundle
        )
        record.log_verdict(result, verdict, model.model_id, inputs["testing"])
        mlflow.set_tags({"variant": result.variant, "mlflow.note.content": record.note(verdict.card)})
    standing = Standing(
        variant=result.variant,
        run_id=child.info.run_id,
        cv_balanced_accuracy=result.cv_balanced_accuracy,
        cv_std=result.cv_std,
        metrics=dict(verdict.metrics),
        fit_seconds=result.fit_seconds,
    )
    return standing, model.model_uri


def _log_inputs(inputs: dict[str, PandasDataset]) -> None:
    for context, dataset in inputs.items():
        mlflow.log_input(dataset, context=context)


def _log_leader_board(standings: list[Standing], data: TrainingData) -> None:
    """Files, figures and description of the parent run."""
    best = standings[0]
    with record.artifact_folder() as folder:
        leader_board.frame(standings).to_csv(folder / "leaderboard.csv", index=False)
        figure = leaderboard_plot(
            [standing.variant for standing in standings],
            [standing.cv_balanced_accuracy for standing in standings],
            [standing.cv_std for standing in standings],
            [standing.metrics["balanced_accuracy"] for standing in standings],
        )
        save(figure, folder / "leaderboard.png")
    mlflow.log_metrics(
        {
            "cv_balanced_accuracy": best.cv_balanced_accuracy,
            "test_balanced_accuracy": best.metrics["balanced_accuracy"],
        }
    )
    run = mlflow.active_run()
    assert run is not None
    note = (
        f"{leader_board.markdown(standings)}\n\nTrained on {len(data.y_train)} rows of {data.name}, judged "
        f"on {len(data.y_test)} others. To serve: `mlflow models serve -m runs:/{best.run_id}/model`"
    )
    MlflowClient().set_tag(run.info.run_id, "mlflow.note.content", note)


def _signature_kind(settings: TrainingSettings) -> Literal["rows", "file"]:
    return "file" if settings.file_management else "rows"
