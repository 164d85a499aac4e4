"""Model sources as versions: logged with code and attachments, judged on held-out rows if there are any."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

import proto_model
from proto_model.errors import DataError, InputError, counted
from proto_model.registry import record
from proto_model.registry.logged_model import CODE, nothing_else, pinned_requirements, write_description
from proto_model.registry.patience import patient
from proto_model.registry.tracking import check_store
from proto_model.registry.versions import register_version
from proto_model.schema import ModelSchema
from proto_model.sources import (
    Keeper,
    Options,
    RejectedError,
    Source,
    SourceError,
    SourceModel,
    read_records,
    unpacked,
)
from proto_model.sources.data import BadRecord
from proto_model.sources.stored import SCHEMA, store
from proto_model.table import TrainingData
from proto_model.table.given import given_data

SOURCE_DIGEST = "source_digest"
"""Tag of a version that is a source: its identity."""

_TYPES = {
    "double": DataType.double, "float": DataType.float, "int": DataType.integer, "long": DataType.long,
    "boolean": DataType.boolean, "string": DataType.string, "enum": DataType.string,
}  # fmt: skip
_TARGETS = ("target", "class", "label", "y")


@dataclass(frozen=True)
class HeldOut:
    """A file of rows with labels that the source has not learned from, and the column of the labels."""

    path: Path
    target: str = ""


@dataclass(frozen=True)
class RegisteredSource:
    """A source that became a version; metrics are of the held-out rows."""

    name: str
    version: str
    digest: str
    metrics: dict[str, float] = field(default_factory=dict)


def register_source(
    path: Path,
    attachments: Sequence[Path],
    name: str,
    *,
    options: Options,
    held_out: HeldOut | None = None,
    alias: str = "",
) -> RegisteredSource:
    """Register a source as a version that MLflow serves; it runs here on the held-out rows, if there are any.

    With held-out rows, the version can be compared with others, and a mapper can ask it. A SourceError or
    DataError says what is missing; then nothing is registered.
    """
    source = Source.read(path)
    source.function("score")
    check_store(mlflow.get_tracking_uri(), may_create=True)
    with (
        unpacked(source, attachments, needs_schemas=options.schema_check) as model,
        tempfile.TemporaryDirectory(prefix="proto_model-") as temporary,
    ):
        columns = _columns(model)
        data = None if held_out is None else _held_out_data(held_out, columns, name, model)
        metrics = {} if data is None else _metrics(model, options, data)
        folder = Path(temporary, "source")
        folder.mkdir()
        store(folder, model, attachments, options)
        if data is not None:
            data.schema.write(folder / SCHEMA)
        tags = {SOURCE_DIGEST: model.digest, "signature": "rows", "variant": "source"}
        with mlflow.start_run(run_name=source.name, tags=record.environment_tags()) as run:
            if data is not None:
                record.log_split(data, knows_training=False)
                mlflow.log_metrics({f"test_{key}": value for key, value in metrics.items()})
                tags |= {
                    "split_run_id": run.info.run_id,
                    "split_by": data.split_by.rule,
                    "split_digest": data.split_digest,
                    "schema_digest": data.schema.digest,
                    "test_balanced_accuracy": f"{metrics['balanced_accuracy']:.6f}",
                }
            mlflow.set_tags({"variant": "source", SOURCE_DIGEST: model.digest})
            logged = _log(folder, signature_of(columns), _requirements(path), data)
        found = register_version(
            logged.model_uri,
            name,
            run_id=run.info.run_id,
            description=_description(source, model, data, metrics),
            tags=tags,
            alias=alias or None,
            client=patient(MlflowClient()),
        )
    return RegisteredSource(name, str(found.version), model.digest, metrics)


def signature_of(columns: dict[str, tuple[str, bool]]) -> ModelSignature:
    """Signature of rows by Avro's types; dates are text, as JSON carries them."""
    inputs = [
        ColSpec(_TYPES.get(kind, DataType.string), name, required=not nullable)
        for name, (kind, nullable) in columns.items()
    ]
    return ModelSignature(
        Schema([*inputs]), None, ParamSchema([ParamSpec("explain", DataType.boolean, False)])
    )


def _columns(model: SourceModel) -> dict[str, tuple[str, bool]]:
    """Avro's type of each column, and whether it may be null."""
    schema = model.input_schema
    columns = {} if schema is None else schema.columns
    if not columns:
        raise SourceError(
            f"{model.source.name} has no Avro schema of its input, so what its rows hold is not known. "
            "Write the line `# modelop.schema.0: input.avsc`, and put that file beside it."
        )
    return columns


def _held_out_data(
    held_out: HeldOut, columns: dict[str, tuple[str, bool]], name: str, model: SourceModel
) -> TrainingData:
    """Held-out rows as a training run has them; of training rows, none are known."""
    types = {column: kind for column, (kind, _) in columns.items()}
    records = list(read_records(held_out.path, types=types))
    bad = next((n for n, one in enumerate(records, 1) if not isinstance(one, dict)), None)
    if bad is not None or not records:
        told = "there is none" if not records else f"record {bad} is none"
        why = f": {records[bad - 1].reason}" if bad and isinstance(records[bad - 1], BadRecord) else ""
        raise DataError(f"{held_out.path.name}: rows with a value per column expected, {told}{why}.")
    frame = pd.DataFrame(records)
    target = held_out.target or next((one for one in _TARGETS if one in frame.columns), "")
    if target not in frame.columns:
        raise DataError(
            f"{held_out.path.name} has no column {target or 'target, class, label or y'!r} with the labels. "
            "Name it with --target."
        )
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataError(
            f"{held_out.path.name} has no column {missing[0]!r}, which {model.source.name} takes."
        )
    X, y = frame[list(columns)], pd.Series(frame[target].to_numpy(), name=target)
    data = given_data(X, y, X, y, model_name=name, name=held_out.path.name)
    return dataclasses.replace(
        data,
        X_train=data.X_train[:0],
        y_train=data.y_train[:0],
        train_hashes=data.train_hashes[:0],
        schema=_with_nulls(data.schema, columns),
        n_rows=len(data.y_test),
        split_notes=(
            "The rows were given by whoever registered the source: nothing says that it has not learned from "
            "them.",
        ),
    )


def _with_nulls(schema: ModelSchema, columns: dict[str, tuple[str, bool]]) -> ModelSchema:
    """Schema in which a column may be missing if the Avro schema, or a held-out row, says so."""
    features = tuple(
        dataclasses.replace(one, nullable=one.nullable or columns[one.name][1]) for one in schema.features
    )
    return dataclasses.replace(schema, features=features)


def _metrics(model: SourceModel, options: Options, data: TrainingData) -> dict[str, float]:
    """Share of right labels, over all rows and over classes. An error says which row the source refused."""
    from proto_model.registry.logged_model import sent_rows
    from proto_model.statistics import Answers
    from proto_model.statistics.measures import measure
    from proto_model.table import encode

    rows = sent_rows(encode(data.X_test, data.schema), data.schema)
    plain = rows.astype(object).where(rows.notna(), None).to_dict(orient="records")
    keeper = Keeper(model, options)
    try:
        answers = keeper.answer([{k: _plain(v) for k, v in row.items()} for row in plain], False)
    except RejectedError as error:
        raise InputError(f"The source refuses a held-out row: {error}") from error
    finally:
        keeper.close()
    labels: list[Any] = [one.get("prediction") if isinstance(one, dict) else one for one in answers]
    if not all(isinstance(label, str | bool | int | float) for label in labels):
        raise InputError(
            'The source gives no `prediction` for a held-out row, such as {"prediction": "yes"}.'
        )
    places = {label: place for place, label in enumerate(data.schema.classes)}
    predicted = np.array([places.get(label, -1) for label in labels])
    if (predicted < 0).all():
        raise InputError(
            f"No prediction of the source is a label of the held-out rows: {list(data.schema.classes)[:10]}."
        )
    y = np.searchsorted(np.array(data.schema.classes), data.y_test)
    found = {
        metric: measure(metric, y, Answers(predicted), len(places))
        for metric in ("balanced_accuracy", "accuracy")
    }
    return {metric: one.value for metric, one in found.items() if one is not None}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _log(folder: Path, signature: ModelSignature, requirements: list[str], data: TrainingData | None) -> Any:
    with nothing_else():
        return Model.log(
            artifact_path=None,
            name="model",
            flavor=_Flavor,
            folder=folder,
            signature=signature,
            requirements=requirements,
            schema=None if data is None else data.schema,
        )


class _Flavor:
    """What `Model.log` asks for: something with a name and `save_model`."""

    __name__ = "mlflow.pyfunc"

    @staticmethod
    def save_model(
        path: str,
        mlflow_model: Model,
        *,
        folder: Path,
        signature: ModelSignature,
        requirements: list[str],
        schema: ModelSchema | None,
        **_: Any,
    ) -> None:
        with warnings.catch_warnings():
            # Of an example, MLflow would have the source run.
            warnings.filterwarnings("ignore", ".*An input example was not provided")
            mlflow.pyfunc.save_model(
                path=path,
                python_model=str(CODE / "source.py"),
                artifacts={"source": str(folder)},
                code_paths=[str(Path(proto_model.__file__).parent)],
                signature=ModelSignature(params=signature.params),
                pip_requirements=requirements,
                mlflow_model=mlflow_model,
            )
        mlflow_model.signature = signature
        write_description(mlflow_model, Path(path), "source.py")
        if schema is not None:  # what a mapper needs
            (Path(path) / "mapper").mkdir()
            schema.write(Path(path) / "mapper" / SCHEMA)


def _requirements(path: Path) -> list[str]:
    """What the version needs: this project's, Avro, and what stands in requirements.txt beside the source."""
    lines = pinned_requirements()
    try:
        lines.append(f"fastavro=={version('fastavro')}")
    except PackageNotFoundError:
        lines.append("fastavro")
    beside = path.parent / "requirements.txt"
    if beside.is_file():
        given = (line.strip() for line in beside.read_text(encoding="utf-8").splitlines())
        lines += [line for line in given if line and not line.startswith(("#", "-", "."))]
    return lines


def _description(
    source: Source, model: SourceModel, data: TrainingData | None, metrics: dict[str, float]
) -> str:
    first = f"The model source {source.name} ({model.digest[:16]}), which runs its own code."
    if data is None:
        return f"{first} It was not tried on held-out rows."
    return (
        f"{first} It predicts {data.schema.target}: balanced accuracy {metrics['balanced_accuracy']:.4f} on "
        f"{counted(len(data.y_test), 'held-out row')}."
    )
