"""A model version as a folder that `mlserver start` serves."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from proto_model.addresses import MAX_PORT, port_number
from proto_model.errors import ArtifactError
from proto_model.model import answer_fields
from proto_model.parameters import FILE, Signature
from proto_model.registry.mlserver_files import IMPLEMENTATION, MODEL_SETTINGS, SERVER, runtime_text
from proto_model.registry.model_folder import BUNDLE, signature_of
from proto_model.schema import FeatureType, ModelSchema
from proto_model.serving.http.settings import ServerSettings, ServerSettingsError
from proto_model.serving.http.tensors import column_datatype, metadata

SCHEMA = BUNDLE / "schema.json"

# Environment variable, key of settings.json, default.
PORTS = (
    ("MLSERVER_HTTP_PORT", "http_port", 5001),
    ("MLSERVER_GRPC_PORT", "grpc_port", 8081),
    ("MLSERVER_METRICS_PORT", "metrics_port", 8082),
)

# Limits of a model for rows, and of one for files; `PROTO_MODEL_SERVER_<NAME>` changes one.
ROW_LIMITS = ("max_rows", "answer_timeout_s", "threads", "max_waiting")
FILE_LIMITS = ("max_files", "file_timeout_s", "file_jobs", "max_waiting_files", "drain_timeout_s")
LIMIT_PREFIX = "PROTO_MODEL_SERVER_"


def write_mlserver_configs(model: Path, build: Path, environment: Mapping[str, str]) -> Path:
    """Write what MLServer needs to serve a downloaded model.

    The folder is made beside its place and moved there when it is complete; when something fails, the one
    that was there stays.

    Parameters
    ----------
    model : Path
        Folder of the model, as downloaded; moved to `build/mlserver_configs/<model name>`, which is returned.
    build : Path
        Folder that `mlserver start` will be given.
    environment : mapping of str to str
        May set host, ports (`PORTS`) and limits (`PROTO_MODEL_SERVER_MAX_ROWS` and so on).

    Raises
    ------
    ArtifactError, ServerSettingsError
        If the model is not one of this package's, or a port or a limit is wrong.
    """
    settings = server_settings(environment)
    if not (model / SCHEMA).is_file():
        raise ArtifactError(
            f"{model.name} holds no {SCHEMA}: not a model of proto_model. Give the URI of one, such as "
            "models:/proto_model@champion."
        )
    schema, signature = ModelSchema.read(model / SCHEMA), signature_of(model)
    limits = model_limits(FILE_LIMITS if signature == FILE else ROW_LIMITS, environment)
    configs = build / "mlserver_configs"
    configs.mkdir(parents=True, exist_ok=True)
    target = configs / schema.model_name
    # MLServer looks for models in all folders but hidden ones.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=configs) as temporary:
        new = Path(temporary) / "new"
        (new / "artifact").mkdir(parents=True)
        shutil.move(model, new / "artifact" / "model")
        # MLServer looks for models in all folders; this file would be that of a second one.
        (new / "artifact" / "model" / MODEL_SETTINGS).unlink(missing_ok=True)
        (new / "runtime.py").write_text(runtime_text("artifact", "model"), encoding="utf-8")
        _write_json(new / MODEL_SETTINGS, model_settings(schema, signature, limits))
        _write_json(new / "settings.json", settings)
        if target.exists():
            target.rename(Path(temporary) / "old")
        new.rename(target)
    # `mlserver start build` reads its settings there and nowhere else.
    _write_json(build / "settings.json", settings)
    return target


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise the error that `write_mlserver_configs` would raise for a port or a limit."""
    server_settings(environment)
    model_limits((), environment)


def server_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Content of `settings.json`.

    MLServer lets its file win over its variables, so the variables are read when the file is written.
    """
    settings: dict[str, Any] = {"host": environment.get("MLSERVER_HOST", "127.0.0.1"), **SERVER}
    for variable, key, default in PORTS:
        text = environment.get(variable, str(default))
        number = port_number(text)
        if not number:
            raise ServerSettingsError(f"{variable} is {text!r}, a port from 1 to {MAX_PORT} expected.")
        settings[key] = number
    return settings


def model_limits(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Limits of these names, as the runtime reads them; `PROTO_MODEL_SERVER_*` variables change them."""
    given = {
        variable.removeprefix(LIMIT_PREFIX): text
        for variable, text in environment.items()
        if variable.startswith(LIMIT_PREFIX)
    }
    limits = dataclasses.asdict(ServerSettings.of_numbers(given, LIMIT_PREFIX))
    return {name: limits[name] for name in names}


def model_settings(schema: ModelSchema, signature: Signature, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Content of `model-settings.json`: limits, and a tensor of the V2 protocol per column."""
    inputs: Iterable[tuple[str, FeatureType | Literal["json"]]]
    outputs: Iterable[tuple[str, FeatureType | Literal["json"]]]
    if signature == FILE:
        inputs = [(name, "string") for name in ("input_url", "output_url", "file_id")]
        outputs = [(name, "string") for name in ("file_id", "status", "summary")]
    else:
        inputs = [(feature.name, feature.type) for feature in schema.features]
        outputs = [(field.name, field.type) for field in answer_fields(schema, None, signature)]
    return {
        "name": schema.model_name,
        "implementation": IMPLEMENTATION,
        "platform": "proto_model",
        "inputs": [_tensor(name, kind) for name, kind in inputs],
        "outputs": [_tensor(name, kind) for name, kind in outputs],
        "parameters": {"uri": "./artifact/model", "extra": dict(limits)},
    }


def _tensor(name: str, kind: FeatureType | Literal["json"]) -> dict[str, Any]:
    """Metadata of one column; the content type is MLServer's."""
    datatype = column_datatype(kind)
    content_type = "str" if datatype == "BYTES" else "np"
    return {**metadata(name, datatype), "parameters": {"content_type": content_type}}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file in one step."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
    Path(temporary).chmod(0o644)
    os.replace(temporary, path)
