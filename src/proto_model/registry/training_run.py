"""One training run against MLflow: a parent run, a child run per variant, versions and their aliases."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mlflow
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities.model_registry import ModelVersion
from rich.console import Console

from proto_model.errors import ProtoModelError
from proto_model.model import Bundle
from proto_model.registry import record
from proto_model.registry.cautions import caution_tags, log_cautions, show_cautions
from proto_model.registry.logged_model import log_explainer, log_forest_model
from proto_model.registry.mapping import attach_mapping, checked_mapping
from proto_model.registry.provenance import Origin, origin_of
from proto_model.registry.settings import TrainingSettings
from proto_model.registry.tracking import check_store
from proto_model.registry.versions import CHALLENGER, explainer_name, register_version, set_alias
from proto_model.table import RawTable, TrainingData, prepare
from proto_model.table.caution import Caution
from proto_model.table.cautions import check_rows, data_cautions
from proto_model.table.split_cautions import split_cautions
from proto_model.training import VARIANTS, SearchResult, leader_board, search_progress, searches
from proto_model.training.background import StoredBackground
from proto_model.training.costs import cost_matrix
from proto_model.training.decision import DecisionSettings, find_decision, with_decisions
from proto_model.training.dictionary import Document, coverage_text, described
from proto_model.training.evaluation import judge
from proto_model.training.leader_board import Standing


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training run left behind.

    `run_id` is the child run of the best variant, whose model is `runs:/<run_id>/model`. `standings` are best
    first, `versions` are by variant, `cautions` are those of the best variant and of the table.
    """

    run_id: str
    standings: list[Standing]
    versions: dict[str, str]
    cautions: tuple[Caution, ...]


@dataclass(frozen=True)
class _Task:
    """What all parts of a run need."""

    settings: TrainingSettings
    data: TrainingData
    background: StoredBackground
    parent_run_id: str
    bundles: Path
    cautions: tuple[Caution, ...]  # of the table
    origin: Origin
    mapping: Path | None = None  # folder of an application's own mapping, as it goes into versions

    @property
    def signature_kind(self) -> Literal["rows", "file"]:
        return "file" if self.settings.file_management else "rows"

    @property
    def wishes(self) -> DecisionSettings:
        return DecisionSettings(self.settings.calibrate, self.settings.costs, self.settings.conformal)

    def bundle(self, variant: str) -> Path:
        return self.bundles / variant / "bundle"


def train(
    settings: TrainingSettings,
    load: Callable[[], RawTable],
    console: Console,
    load_dictionary: Callable[[], Document | None] = lambda: None,
) -> TrainingOutcome:
    """Train, evaluate, log and register every variant; `load` reads the data set that the settings name.

    `load_dictionary` reads the data dictionary, if they name one.

    Uses the tracking server that MLflow's environment variables name; under `mlflow run`, the run that it has
    begun. Nothing is registered unless all variants are done. A ProtoModelError says that the server or the
    data cannot be used (then the reason is in the failed run's description), an MlflowException that the
    server failed later.
    """
    check_store(mlflow.get_tracking_uri(), may_create=True)
    record.forget_finished_run()
    with (
        mlflow.start_run(tags=record.environment_tags()) as parent,
        tempfile.TemporaryDirectory(prefix="proto_model_") as bundles,
    ):
        record.log_missing_params(settings.as_params())
        try:
            data = prepare(
                load(),
                settings.target or None,
                settings.test_size,
                settings.registered_model_name,
                settings.roles,
            )
            check_rows(data)
            document = load_dictionary()
            data = data if document is None else described(data, document)
            cost_matrix(settings.costs, data.schema, [1] * len(data.schema.classes))
            mapping = checked_mapping(settings, data.schema, Path(bundles, "mapping"))
        except ProtoModelError as error:
            mlflow.set_tag("mlflow.note.content", f"Failed: {error}")
            raise
        _announce(data, console)
        cautions = (*data_cautions(data, settings.random_state), *split_cautions(data))
        show_cautions(cautions, console)
        background = StoredBackground.of(data, settings.background, settings.random_state)
        run_id, origin = parent.info.run_id, origin_of(data)
        task = _Task(settings, data, background, run_id, Path(bundles), cautions, origin, mapping)
        results, standings, model_uris = _log_variants(task, console)
        best = standings[0]
        with mlflow.start_run(run_id=best.run_id, nested=True):
            pipeline = results[best.variant].pipeline
            bundle = task.bundle(best.variant)
            explainer = log_explainer(pipeline, data, bundle=bundle, background=background)
            if task.mapping is not None:
                attach_mapping(explainer.model_id, task.mapping)
            record.log_example_explanations(Bundle.load(bundle), data)
        versions = _register(task, standings, model_uris)
        _register_explainer(task, best, versions[best.variant], explainer.model_uri)
        record.log_leader_board(standings, data)
        log_cautions(best.cautions)
    numbers = {variant: str(version.version) for variant, version in versions.items()}
    return TrainingOutcome(best.run_id, standings, numbers, best.cautions)


def _announce(data: TrainingData, console: Console) -> None:
    lines = [
        f"{data.name}: {data.n_rows:,} rows, {len(data.schema.features)} features, "
        f"{len(data.schema.classes)} classes of {data.schema.target!r}; {len(data.y_train):,} training rows, "
        f"{len(data.y_test):,} test rows (split by {data.split_by.rule}, {data.split_digest})"
    ]
    if data.n_unlabelled:
        lines.append(f"  left out: {data.n_unlabelled:,} rows without a {data.schema.target!r}")
    lines += [f"  dropped column {column.name!r}: {column.reason}" for column in data.dropped]
    lines += [f"  {coverage_text(data.schema)}"] if data.schema.dictionary else []
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _log_variants(
    task: _Task, console: Console
) -> tuple[dict[str, SearchResult], list[Standing], dict[str, str]]:
    """Search and log all variants: results and model URIs by variant, and the standings, best first."""
    settings, data = task.settings, task.data
    inputs = record.dataset_inputs(data)
    results: dict[str, SearchResult] = {}
    standings: list[Standing] = []
    model_uris: dict[str, str] = {}
    with (
        search_progress(console, settings.metric) as progress,
        searches(
            VARIANTS, data, settings.n_candidates, settings.random_state, progress, metric=settings.metric
        ) as found,
    ):
        record.log_inputs(inputs)  # while the first fits go on
        record.log_split(data)
        mlflow.set_tags(
            {
                "split_by": data.split_by.rule,
                "split_digest": data.split_digest,
                "schema_digest": data.schema.digest,
            }
        )
        for result in found:
            standing, model_uris[result.variant] = _log_variant(task, result, inputs)
            console.print(
                f"{result.variant}: tested and logged, balanced accuracy "
                f"{standing.metrics['balanced_accuracy']:.4f} on the test rows{standing.decides}",
                highlight=False,
                soft_wrap=True,
            )
            standings.append(standing)
            results[result.variant] = result
    return results, leader_board.ranked(standings), model_uris


def _log_variant(
    task: _Task, result: SearchResult, inputs: Mapping[str, PandasDataset]
) -> tuple[Standing, str]:
    """Child run of a variant; its standing and the URI of its logged model."""
    with mlflow.start_run(run_name=result.variant, nested=True, tags=record.environment_tags()) as child:
        mlflow.log_params(task.settings.as_params())
        seed = task.settings.random_state
        found = find_decision(result, task.data, task.wishes, seed)
        result = with_decisions(result, task.data, found)
        record.log_search(result)
        record.log_inputs(inputs)
        verdict = judge(result, task.data, seed, task.background, task.cautions, found)
        model = log_forest_model(
            result.pipeline,
            task.data,
            signature_kind=task.signature_kind,
            bundle=task.bundle(result.variant),
            background=task.background,
            decision=found.decision,
        )
        if task.mapping is not None:
            attach_mapping(model.model_id, task.mapping)
        record.log_verdict(result, verdict, model.model_id, inputs["testing"])
        record.log_provenance(
            task.bundle(result.variant), task.data, task.origin, task.settings.as_params(), result, verdict
        )
        log_cautions(verdict.cautions)
        mlflow.set_tags({"variant": result.variant, "mlflow.note.content": record.note(verdict.card)})
    standing = Standing(
        variant=result.variant,
        run_id=child.info.run_id,
        cv_balanced_accuracy=result.cv_balanced_accuracy,
        cv_std=result.cv_std,
        metrics=dict(verdict.metrics),
        fit_seconds=result.fit_seconds,
        cautions=verdict.cautions,
        metric=result.metric,
        folds=result.folds,
        n_nodes=result.n_nodes,
        references=result.references,
        decides="" if found.decision.costs is None else ", deciding by costs",
    )
    return standing, model.model_uri


def _register(
    task: _Task, standings: Sequence[Standing], model_uris: Mapping[str, str]
) -> dict[str, ModelVersion]:
    """Register every variant, the best one last, so that it is the newest version and the challenger."""
    name = task.settings.registered_model_name
    versions = {
        standing.variant: register_version(
            model_uris[standing.variant],
            name,
            run_id=standing.run_id,
            description=_description(standing, task.data),
            tags=_tags(task, standing),
        )
        for standing in reversed(standings)
    }
    set_alias(name, CHALLENGER, versions[standings[0].variant].version)
    return versions


def _register_explainer(task: _Task, best: Standing, explained: ModelVersion, model_uri: str) -> None:
    register_version(
        model_uri,
        explainer_name(task.settings.registered_model_name),
        run_id=best.run_id,
        description=f"Explains version {explained.version} of {explained.name} ({best.variant}).",
        tags=_tags(task, best)
        | {
            "signature": "rows",
            "explained_model": explained.name,
            "explained_version": str(explained.version),
        },
        alias=CHALLENGER,
    )


def _description(standing: Standing, data: TrainingData) -> str:
    return (
        f"{standing.variant}, predicts {data.schema.target} of {data.name}: balanced accuracy "
        f"{standing.cv_balanced_accuracy:.4f} ± {standing.cv_std:.4f} in cross-validation, "
        f"{standing.metrics['balanced_accuracy']:.4f} on {len(data.y_test):,} test rows. "
        f"The model card is `model_card.md` of run {standing.run_id}."
    )


def _tags(task: _Task, standing: Standing) -> dict[str, str]:
    return {
        "variant": standing.variant,
        "dataset": task.data.name,
        "signature": task.signature_kind,
        "background": task.background.kind,
        "split_run_id": task.parent_run_id,
        "split_by": task.data.split_by.rule,
        "split_digest": task.data.split_digest,
        "schema_digest": task.data.schema.digest,
        **({"protected": ",".join(names)} if (names := list(task.data.protected_test.columns)) else {}),
        "cv_balanced_accuracy": f"{standing.cv_balanced_accuracy:.6f}",
        "test_balanced_accuracy": f"{standing.metrics['balanced_accuracy']:.6f}",
        **caution_tags(standing.cautions),
    }
