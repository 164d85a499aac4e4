"""Logging of the served models, so that they can be served wherever their folder is.

A model's folder holds `MLmodel` with signature and input example, pinned requirements, the code of this
package, the bundle as an artifact, and `mapper/`: what the mapper of this version needs, to be fetched alone.
A version also holds what MLServer needs to serve its folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME, ModelInfo
from numpy.typing import NDArray

import proto_model
from proto_model.model.bundle import SCHEMA_FILE, write_bundle
from proto_model.model.decision import PLAIN, Decision
from proto_model.registry.mlserver_files import write_mlserver_files
from proto_model.registry.signature import explainer_signature, file_signature, rows_signature
from proto_model.registry.tracking import DETECT_UV
from proto_model.schema import DATE_TYPES, ModelSchema
from proto_model.table import TrainingData, decode
from proto_model.training.background import StoredBackground

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CODE = Path(proto_model.__file__).parent / "serving" / "mlflow" / "code"
MAPPER_REQUIREMENTS = Path(__file__).parent / "mapper_requirements.txt"
N_EXAMPLE_ROWS = 5

#: What loading, predicting, explaining and file scoring import; a test blocks everything else.
DISTRIBUTIONS = ("mlflow", "numpy", "pandas", "pyarrow", "llvmlite", "orjson")

SignatureKind = Literal["rows", "file"]


def log_forest_model(
    pipeline: Pipeline,
    data: TrainingData,
    *,
    signature_kind: SignatureKind = "rows",
    name: str = "model",
    bundle: Path | None = None,
    background: StoredBackground | None = None,
    decision: Decision = PLAIN,
) -> ModelInfo:
    """Log the model that predicts to the active run.

    One of the kind "rows" takes a column per feature, one of the kind "file" jobs of an `input_url` and an
    `output_url`. `bundle` is the folder of the bundle, written there if it is not there yet: for more than
    one model of the same pipeline, since writing takes longer than anything else here. `background` is what
    explanations need and examples are taken from, by default a synthetic one. `decision` leads from the
    forest's probabilities to answers; by default they are the answers.
    """
    background = background or StoredBackground.of(data)
    with _written(bundle, pipeline, data, background, decision) as folder:
        if signature_kind == "file":
            # No input example: MLflow would try it, and these URLs would be someone's.
            return _log(name, folder, "file", file_signature(), None)
        example = example_rows(background.rows, data.schema)
        return _log(name, folder, "forest", rows_signature(data.schema), example)


def log_explainer(
    pipeline: Pipeline,
    data: TrainingData,
    *,
    name: str = "explainer",
    bundle: Path | None = None,
    background: StoredBackground | None = None,
    decision: Decision = PLAIN,
) -> ModelInfo:
    """Log the model that explains to the active run; parameters as for `log_forest_model`."""
    background = background or StoredBackground.of(data)
    with _written(bundle, pipeline, data, background, decision) as folder:
        example = example_rows(background.rows, data.schema)
        return _log(name, folder, "explainer", explainer_signature(data.schema), example)


def example_rows(matrix: NDArray[np.float64], schema: ModelSchema) -> pd.DataFrame:
    """The first of the fullest coded rows as a client would send them: whole numbers and truth values too.

    MLflow cannot read an example back in which a whole number is missing.
    """
    return sent_rows(matrix[np.argsort(np.isnan(matrix).sum(axis=1), kind="stable")[:N_EXAMPLE_ROWS]], schema)


def sent_rows(matrix: NDArray[np.float64], schema: ModelSchema) -> pd.DataFrame:
    """Coded rows as a client would send them."""
    rows = decode(matrix, schema)
    return pd.DataFrame({f.name: _as_sent(rows[f.name], f.type) for f in schema.features})


def _as_sent(column: pd.Series[Any], kind: str) -> pd.Series[Any]:
    """A column of a canonical frame in its own type."""
    if kind in DATE_TYPES:
        texts = [None if value is pd.NaT else f"{value.isoformat()}Z" for value in column]
        return pd.Series([text[:10] if text and kind == "date" else text for text in texts], dtype=object)
    if kind in ("string", "text", "double"):
        return column
    native = int if kind == "long" else bool
    if column.notna().all():
        return column.astype(native)
    return pd.Series([None if value != value else native(value) for value in column], dtype=object)


@contextmanager
def _written(
    bundle: Path | None,
    pipeline: Pipeline,
    data: TrainingData,
    background: StoredBackground,
    decision: Decision,
) -> Iterator[Path]:
    """Folder of the bundle, which is written unless it is there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = bundle or Path(temporary) / "bundle"
        if not folder.exists():
            schema = background.described(data.schema)
            write_bundle(folder, pipeline, schema, background.rows, background.kind, decision)
        yield folder


def _log(
    name: str, bundle: Path, code: str, signature: ModelSignature, input_example: pd.DataFrame | None
) -> ModelInfo:
    """Log a model over a bundle."""
    with nothing_else():
        info: ModelInfo = Model.log(
            artifact_path=None,
            name=name,
            flavor=_Flavor,
            bundle=bundle,
            code=CODE / f"{code}.py",
            signature=signature,
            input_example=input_example,
        )
    return info


@contextmanager
def nothing_else() -> Iterator[None]:
    """What is written here goes along alone: no `__pycache__` of a trial, no `uv.lock` of the folder."""
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    is_said = DETECT_UV in os.environ
    os.environ.setdefault(DETECT_UV, "false")
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        if not is_said:
            del os.environ[DETECT_UV]


class _Flavor:
    """What `Model.log` asks for: something with a name and `save_model`."""

    __name__ = "mlflow.pyfunc"

    @staticmethod
    def save_model(path: str, mlflow_model: Model, **parts: Any) -> None:
        save_model(Path(path), mlflow_model=mlflow_model, **parts)
        # Not in a folder that a user saves: `mlserver start build` would find a second model in it.
        schema = ModelSchema.read(parts["bundle"] / SCHEMA_FILE)
        write_mlserver_files(Path(path), schema.model_name)


def save_model(
    path: Path,
    *,
    bundle: Path,
    code: Path,
    signature: ModelSignature,
    input_example: pd.DataFrame | Mapping[str, Any] | None = None,
    mlflow_model: Model | None = None,
) -> None:
    """Write the folder of a served model, which must not exist yet.

    `bundle` is as `write_bundle` left it; `code` is a Python file that sets the model (MLflow's models from
    code); `mlflow_model` is the identity of a model that is being logged.
    """
    schema = ModelSchema.read(bundle / SCHEMA_FILE)
    mlflow_model = mlflow_model if mlflow_model is not None else Model()
    mlflow.pyfunc.save_model(
        path=str(path),
        python_model=str(code),
        artifacts={"bundle": str(bundle)},
        code_paths=[str(Path(proto_model.__file__).parent)],
        # MLflow would check the example by the columns, and takes no whole numbers of which some are missing.
        signature=ModelSignature(outputs=signature.outputs, params=signature.params),
        input_example=input_example,
        pip_requirements=pinned_requirements(),
        mlflow_model=mlflow_model,
        metadata={"features": {feature.name: feature.type for feature in schema.features}},
    )
    mlflow_model.signature = signature
    write_description(mlflow_model, path, code.name)
    mapper = path / "mapper"
    mapper.mkdir()
    schema.write(mapper / SCHEMA_FILE)
    shutil.copyfile(MAPPER_REQUIREMENTS, mapper / "requirements.txt")


def write_description(mlflow_model: Model, path: Path, code: str) -> None:
    """Write MLmodel with no path of this machine; MLflow looks for what it names beside it."""
    python = mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME]
    python["model_code_path"] = code
    for artifact in python["artifacts"].values():
        artifact["uri"] = artifact["path"]
    before, mlflow_model.artifact_path = mlflow_model.artifact_path, None  # where the store of artifacts is
    mlflow_model.save(str(path / MLMODEL_FILE_NAME))
    mlflow_model.artifact_path = before


def pinned_requirements() -> list[str]:
    """Requirement lines, pinned to what is installed here, where the model was made and tried."""
    return [f"{name}=={version(name)}" for name in DISTRIBUTIONS]
