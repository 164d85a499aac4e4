"""Formats that are MLflow models of their own: `mlflow models serve` serves them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

import proto_model
from proto_model.formats import Format, Source
from proto_model.formats.estimator import TRUSTED, DecidedClassifier, estimator
from proto_model.formats.libraries import library
from proto_model.formats.onnx_graph import label_array, output_names
from proto_model.registry.logged_model import pinned_requirements


def log_format_model(kind: Format, source: Source, content: bytes, run_id: str | None) -> str:
    """Log a format, written and verified, as an outcome of a run; the id of the logged model."""
    flavor, parts = _onnx(source, content) if kind.flavor == "onnx" else _sklearn(source)
    exact = _Exact(flavor, kind.file, content)
    info = Model.log(artifact_path=None, name=kind.name, flavor=exact, run_id=run_id, **parts)
    model_id: str = info.model_id
    return model_id


class _Exact:
    """A flavor of MLflow's that keeps the very bytes that were verified, not others of the same model."""

    def __init__(self, flavor: Any, file: str, content: bytes) -> None:
        self._flavor, self._file, self._content = flavor, file, content
        self.__name__ = flavor.__name__

    def save_model(self, path: str, mlflow_model: Model, **parts: Any) -> None:
        self._flavor.save_model(path=path, mlflow_model=mlflow_model, **parts)
        Path(path, self._file).write_bytes(self._content)


def _onnx(source: Source, content: bytes) -> tuple[Any, dict[str, Any]]:
    import mlflow.onnx

    # Tensors of objects, not columns: of columns, MLflow makes pandas texts, which onnxruntime does not take.
    inputs = [
        TensorSpec(np.dtype(np.float64 if one.takes_numbers else object), (-1,), one.name)
        for one in source.schema.features
    ]
    label, *probabilities = output_names(source)
    outputs = [TensorSpec(label_array(source).dtype, (-1,), label)]
    outputs += [TensorSpec(np.dtype(np.float64), (-1,), name) for name in probabilities]
    return mlflow.onnx, {
        "onnx_model": library("onnx", "onnx").load_from_string(content),
        "signature": ModelSignature(Schema([*inputs]), Schema([*outputs])),
        "pip_requirements": _pinned("mlflow", "onnx", "onnxruntime", "numpy", "pandas"),
        "onnx_execution_providers": ["CPUExecutionProvider"],
        "save_as_external_data": False,
    }


def _sklearn(source: Source) -> tuple[Any, dict[str, Any]]:
    import mlflow.sklearn

    found = estimator(source)
    is_ours = isinstance(found, DecidedClassifier) or hasattr(found.named_steps["encode"], "expansion_")
    names = ("mlflow", "scikit-learn", "skops", "scipy", "numpy", "pandas")
    requirements = _pinned(*names)
    return mlflow.sklearn, {
        "sk_model": found,
        "serialization_format": "skops",
        "skops_trusted_types": TRUSTED,
        "signature": ModelSignature(
            # Numbers and truth values as doubles, which may be missing; all others as text.
            Schema(
                [
                    ColSpec(DataType.double if one.takes_numbers else DataType.string, one.name)
                    for one in source.schema.features
                ]
            ),
            Schema([ColSpec(DataType[source.schema.target_type], "prediction")]),
        ),
        "pip_requirements": sorted({*requirements, *pinned_requirements()}) if is_ours else requirements,
        # Classes of this project are in it, which nobody else has.
        "code_paths": [str(Path(proto_model.__file__).parent)] if is_ours else None,
    }


def _pinned(*names: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in names]
