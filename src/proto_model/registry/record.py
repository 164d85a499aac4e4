"""What is written into the runs of a training: parameters, the data set, the split, metrics and files."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from proto_model.explanation.figure import example_figures
from proto_model.model import Bundle, Predictor
from proto_model.plotting import save
from proto_model.registry.provenance import (
    BILL_FILE,
    PROVENANCE,
    STATEMENT_FILE,
    Origin,
    bill_of_materials,
    provenance_statement,
)
from proto_model.registry.split_record import split_facts, write_identity
from proto_model.registry.versions import found
from proto_model.table import BUILT_IN, TrainingData, encode
from proto_model.table.caution import caution_section
from proto_model.table.split import HASH_COLUMN, split_digest
from proto_model.training import SearchResult, leader_board
from proto_model.training.evaluation import Verdict, library_versions
from proto_model.training.evaluation.intervals import logged
from proto_model.training.leader_board import Standing
from proto_model.training.metrics import metric_suffixes


def forget_finished_run() -> None:
    """Take `MLFLOW_RUN_ID` out of the environment unless it is the run that `mlflow run` has just begun.

    The README has users export the run to serve under that name; MLflow would take it up and write into it.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    run = found(MlflowClient().get_run, run_id)
    if run is None or run.info.status != "RUNNING" or MLFLOW_PROJECT_ENTRY_POINT not in run.data.tags:
        del os.environ["MLFLOW_RUN_ID"]


@contextmanager
def _artifact_folder(artifact_path: str | None = None) -> Iterator[Path]:
    """Temporary folder whose files become artifacts of the active run when it is left without an error."""
    with tempfile.TemporaryDirectory(prefix="proto_model_") as name:
        yield Path(name)
        mlflow.log_artifacts(name, artifact_path)


def log_missing_params(params: Mapping[str, str]) -> None:
    """Log those parameters that the active run does not have yet: `mlflow run` has logged its own."""
    run = mlflow.active_run()
    assert run is not None
    known = MlflowClient().get_run(run.info.run_id).data.params
    mlflow.log_params({name: value for name, value in params.items() if name not in known})


def environment_tags() -> dict[str, str]:
    """Tags that tell what a run was made with."""
    libraries = {f"env.{name.lower()}": version for name, version in library_versions().items()}
    return libraries | {"env.platform": platform.platform(), "env.cpu_count": str(os.cpu_count())}


def dataset_inputs(data: TrainingData) -> dict[str, PandasDataset]:
    """Both parts of the data as MLflow datasets, by their context; equal digests mean the same rows."""
    source = (
        CodeDatasetSource({"mlflow.source.name": data.source})
        if data.name in BUILT_IN and data.source.startswith("sklearn.")
        else data.source
    )
    parts = {
        "training": (data.X_train, data.y_train, data.train_hashes),
        "testing": (data.X_test, data.y_test, data.test_hashes),
    }
    with warnings.catch_warnings():
        # Two of MLflow's own sources take a local path; integer labels never are missing.
        warnings.filterwarnings("ignore", "The specified dataset source can be interpreted", UserWarning)
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer column", UserWarning)
        inputs = {
            context: from_pandas(
                X.assign(**{data.schema.target: y}),
                source=source,
                targets=data.schema.target,
                name=data.name,
                digest=split_digest(hashes),
            )
            for context, (X, y, hashes) in parts.items()
        }
        for dataset in inputs.values():
            _ = dataset.schema  # inferred and kept now, while the warnings are off
    return inputs


def log_inputs(inputs: Mapping[str, PandasDataset]) -> None:
    """Both parts of the data as inputs of the active run."""
    for context, dataset in inputs.items():
        mlflow.log_input(dataset, context=context)


def log_split(data: TrainingData, *, knows_training: bool = True) -> None:
    """Test rows, the hash of every row and what became of the columns, as `split/` of the active run.

    Protected columns get a file of their own, row by row beside the test rows: whoever scores those must not
    see them. Of a model that was trained elsewhere, the test rows are all that is known.
    """
    with _artifact_folder("split") as folder:
        tests = data.X_test.assign(**{data.schema.target: data.y_test, HASH_COLUMN: data.test_hashes})
        tests.to_parquet(folder / "test_rows.parquet", index=False)
        if len(data.protected_test.columns):
            protected = data.protected_test.assign(**{HASH_COLUMN: data.test_hashes})
            protected.to_parquet(folder / "protected.parquet", index=False)
        write_identity(data, folder, knows_training=knows_training)
        summary = {
            "dataset": data.name,
            "source": data.source,
            "rows": data.n_rows,
            "rows_without_label": data.n_unlabelled,
            "training_rows": len(data.y_train) if knows_training else None,
            "test_rows": len(data.y_test),
            "split_digest": data.split_digest,
            **split_facts(data),
            "dropped_columns": {column.name: column.reason for column in data.dropped},
        }
        (folder / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")


def log_search(result: SearchResult) -> None:
    """Chosen hyperparameters and cross-validation metrics of a variant."""
    mlflow.log_params({"variant": result.variant} | result.best_params)
    names = ("cv_balanced_accuracy", "cv_std", "fit_seconds")
    others = {f"cv_{name}": value for name, value in result.folds.means.items()}
    mlflow.log_metrics(others | {name: getattr(result, name) for name in names})


def log_verdict(result: SearchResult, verdict: Verdict, model_id: str | None, test: PandasDataset) -> None:
    """Metrics on the test rows, tied to the logged model and the test data, and all files of a variant."""
    metrics = {f"test_{name}": value for name, value in logged(verdict.metrics).items()}
    mlflow.log_metrics(metrics, model_id=model_id, dataset=test)
    with _artifact_folder() as folder:
        for name in ("plots", "tables"):
            (folder / name).mkdir()
        for name, figure in verdict.plots.items():
            save(figure, folder / "plots" / name)
        tables = folder / "tables"
        result.table.to_csv(tables / "search.csv", index=False)
        verdict.importances.to_csv(tables / "permutation_importance.csv", index=False)
        if not verdict.groups.empty:
            verdict.groups.to_csv(tables / "fairness.csv", index=False)
        (tables / "metrics.json").write_text(json.dumps(dict(verdict.metrics), indent=2) + "\n")
        (folder / "model_card.md").write_text(verdict.card, encoding="utf-8")


def log_provenance(
    bundle: Path,
    data: TrainingData,
    origin: Origin,
    parameters: Mapping[str, str],
    result: SearchResult,
    verdict: Verdict,
) -> None:
    """Where the version of the active run comes from, and what it is made of."""
    run = mlflow.active_run()
    assert run is not None
    chosen = {"variant": result.variant, **result.best_params}
    metrics = logged(verdict.metrics)
    statement = provenance_statement(bundle, data, origin, parameters, chosen, metrics, run.info.run_id)
    bill = bill_of_materials(bundle, data, origin, result.variant, metrics)
    with _artifact_folder(PROVENANCE) as folder:
        for name, content in ((STATEMENT_FILE, statement), (BILL_FILE, bill)):
            (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def note(card: str) -> str:
    """Model card as a run's description, shortened to what MLflow keeps."""
    if len(card) <= MAX_TAG_VAL_LENGTH:
        return card
    end = "\n\n… The rest is in `model_card.md`.\n"
    return card[: card.rindex("\n", 0, MAX_TAG_VAL_LENGTH - len(end))] + end


def log_example_explanations(bundle: Bundle, data: TrainingData) -> None:
    """One figure per class, of a typical test row that gets it, as `explanations/` of the active run."""
    explainer = Predictor(bundle).explainer("lore")
    X = encode(data.X_test, data.schema)
    figures = example_figures(explainer, data.schema, X, bundle.decision_scores(X))
    with _artifact_folder("explanations") as folder:
        for name, figure in zip(metric_suffixes(list(figures)), figures.values(), strict=True):
            save(figure, folder / f"{name}.png")


def log_leader_board(standings: Sequence[Standing], data: TrainingData) -> None:
    """Files, figures and description of the parent run, which is the active one."""
    best = standings[0]
    with _artifact_folder() as folder:
        leader_board.frame(standings).to_csv(folder / "leaderboard.csv", index=False)
        save(leader_board.figure(standings), folder / "leaderboard.png")
    mlflow.log_metrics(
        {
            **{f"cv_{name}": best.folds.mean(name) for name in (best.metric, "balanced_accuracy")},
            **{f"test_{name}": best.metrics[name] for name in (best.metric, "balanced_accuracy")},
        }
    )
    warned = f"\n\n{caution_section(best.cautions)}" if best.cautions else ""
    mlflow.set_tag(
        "mlflow.note.content",
        f"{leader_board.markdown(standings)}{warned}\n\nTrained on {len(data.y_train):,} rows of "
        f"{data.name}, tested on {len(data.y_test):,} others. To serve it: "
        f"`mlflow models serve -m runs:/{best.run_id}/model -p 5001 --env-manager local`",
    )
