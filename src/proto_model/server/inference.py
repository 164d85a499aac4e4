"""The Open Inference Protocol V2: metadata, and the bodies of `infer`, with a tensor per column.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson

import proto_model
from proto_model.errors import InputError
from proto_model.schema import Feature, FeatureType, ModelSchema
from proto_model.server.errors import NotFoundError, too_many_rows
from proto_model.server.json_body import parsed
from proto_model.server.params import LIST_PARAMS, checked_params
from proto_model.server.rows import RowReader
from proto_model.server.scorer import Answer, Question
from proto_model.serving.answer import answer_columns

__all__ = ["Inference", "InferenceRequest", "Tensor"]

PLATFORM = "proto_model"
DATATYPES: dict[FeatureType, str] = {"double": "FP64", "long": "INT64", "boolean": "BOOL", "string": "BYTES"}

_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_REAL = ("FP16", "FP32", "FP64")
# What JSON may hold for each datatype; null besides, which the feature takes or refuses.
_HOLDS: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "BYTES": (str, bytes),
    **dict.fromkeys(_WHOLE, (int,)),
    **dict.fromkeys(_REAL, (int, float)),
}
_TAKES: dict[FeatureType, tuple[str, ...]] = {
    "double": (*_REAL, *_WHOLE),
    "long": (*_WHOLE, *_REAL),
    "boolean": ("BOOL", *_WHOLE, *_REAL),
    "string": ("BYTES",),
}


class Tensor(NamedTuple):
    """An input tensor as it came."""

    name: Any
    shape: Any
    datatype: Any
    data: Any


@dataclass(frozen=True)
class InferenceRequest:
    """What an `infer` request asks.

    Parameters
    ----------
    question : Question
        For the model.
    id : str or None
        Given back with the answer.
    outputs : tuple of str
        The only tensors to answer with; all if it is empty.
    """

    question: Question
    id: str | None = None
    outputs: tuple[str, ...] = field(default=())


class Inference:
    """Reads and writes what the V2 protocol says about one model.

    Parameters
    ----------
    schema : ModelSchema
        Of the model; gives its name, too.
    version : str or None
        Version in the registry, when it is known.
    always_explains : bool
        Whether the model is the explainer.
    max_rows : int
        Most rows of a request.
    """

    def __init__(
        self,
        schema: ModelSchema,
        version: str | None = None,
        always_explains: bool = False,
        max_rows: int = 1_000_000,
    ) -> None:
        self.schema = schema
        self.version = version
        self.always_explains = always_explains
        self.max_rows = max_rows
        self._rows = RowReader(schema)
        self._features = {feature.name: feature for feature in schema.features}
        probabilities = {} if always_explains else dict.fromkeys(schema.probability_columns, "FP64")
        self._outputs = {
            "prediction": DATATYPES[schema.target_type],
            "probability": "FP64",
            **probabilities,
            "explanation": "BYTES",
        }

    def page(self, path: str) -> dict[str, Any] | None:
        """JSON of a path that tells about server or model; None for the path of `infer`.

        Raises
        ------
        NotFoundError
            If there is no such path, model or version.
        """
        parts = path.strip("/").split("/")[1:]
        if not parts:
            return {"name": "proto-model-turbo", "version": proto_model.__version__, "extensions": []}
        if parts == ["health", "live"]:
            return {"live": True}
        if parts == ["health", "ready"]:
            return {"ready": True}
        if parts[0] == "models" and len(parts) > 1:
            name, rest = parts[1], parts[2:]
            if name != self.schema.model_name:
                raise NotFoundError(f"No model {name[:80]!r} here, but {self.schema.model_name!r}.")
            if rest[:1] == ["versions"] and len(rest) > 1:
                self._check_version(rest[1])
                rest = rest[2:]
            if not rest:
                return self.metadata()
            if rest == ["ready"]:
                return {"name": name, "ready": True}
            if rest == ["infer"]:
                return None
        raise NotFoundError(
            f"Nothing is at {path[:80]!r}. There are /v2, /v2/health/live, /v2/health/ready and, below "
            f"/v2/models/{self.schema.model_name}: ready, infer, versions."
        )

    def metadata(self) -> dict[str, Any]:
        """Names, datatypes and shapes of inputs and outputs; `explanation` comes only when asked for."""
        inputs = [(feature.name, DATATYPES[feature.type]) for feature in self.schema.features]
        return {
            "name": self.schema.model_name,
            "versions": [self.version] if self.version else [],
            "platform": PLATFORM,
            "inputs": [_metadata(*pair) for pair in inputs],
            "outputs": [_metadata(*pair) for pair in self._outputs.items()],
        }

    def read(self, body: bytes) -> InferenceRequest:
        """Request of a JSON body.

        Raises
        ------
        InputError, LengthError
            If the body is not right, or has too many rows.
        """
        content = parsed(body)
        request_id = content.get("id")
        if request_id is not None and not _is_text(request_id):
            raise InputError("id must be a string.")
        inputs = _objects(content.get("inputs"), "inputs")
        outputs = () if content.get("outputs") is None else _objects(content["outputs"], "outputs")
        tensors = [Tensor(*(item.get(key) for key in Tensor._fields)) for item in inputs]
        names = [item.get("name") for item in outputs]
        return self.request(tensors, content.get("parameters"), request_id, names)

    def request(
        self, tensors: Iterable[Tensor], params: Any, request_id: str | None, outputs: Sequence[Any]
    ) -> InferenceRequest:
        """Request of tensors, wherever they came from.

        Raises
        ------
        InputError, LengthError
            If a tensor, a parameter or the name of an output is not right, or there are too many rows.
        """
        unknown = [name for name in outputs if not isinstance(name, str) or name not in self._outputs]
        if unknown:
            raise InputError(f"No output {unknown[0]!r:.80}; there are {', '.join(self._outputs)}.")
        if isinstance(params, Mapping):
            params = {
                name: [value] if name in LIST_PARAMS and isinstance(value, str) else value
                for name, value in params.items()
            }
        known = checked_params(params)
        columns: dict[str, Any] = {}
        n_rows = None
        for tensor in tensors:
            feature = self._features.get(tensor.name) if isinstance(tensor.name, str) else None
            if feature is None:
                if not isinstance(tensor.name, str):
                    raise InputError("Every input needs a name, a shape, a datatype and data.")
                continue
            if tensor.name in columns:
                raise InputError(f"Input {tensor.name!r} given more than once. Send it once.")
            columns[tensor.name] = values = self._values(tensor, feature)
            if n_rows is None:
                n_rows = len(values)
            elif len(values) != n_rows:
                raise InputError(f"Input {tensor.name!r} has {len(values)} rows, others have {n_rows}.")
        if not columns:
            raise InputError(
                f"None of the inputs is a column of the model, which takes one tensor for each of "
                f"{', '.join(self.schema.feature_names[:20])}."
            )
        matrix = self._rows.columns(columns)
        explain = self.always_explains or bool(known.get("explain")) or "explanation" in outputs
        return InferenceRequest(Question(matrix, known, explain), request_id, tuple(outputs))

    def outputs(self, request: InferenceRequest, answer: Answer) -> list[tuple[str, str, list[Any]]]:
        """Name, datatype and data of each tensor of an answer, all of shape [n_rows, 1]."""
        columns: dict[str, list[Any]] = {
            name: column.tolist()
            for name, column in answer_columns(answer.probabilities, self.schema).items()
        }
        if answer.explanations is not None:
            columns["explanation"] = [orjson.dumps(item).decode() for item in answer.explanations]
        wanted = request.outputs or self._outputs
        return [(name, self._outputs[name], columns[name]) for name in wanted if name in columns]

    def write(self, request: InferenceRequest, answer: Answer) -> bytes:
        """JSON body of an answer."""
        n_rows = len(answer.probabilities)
        content: dict[str, Any] = {"model_name": self.schema.model_name}
        if self.version:
            content["model_version"] = self.version
        if request.id is not None:
            content["id"] = request.id
        content["outputs"] = [
            {"name": name, "shape": [n_rows, 1], "datatype": datatype, "data": data}
            for name, datatype, data in self.outputs(request, answer)
        ]
        return orjson.dumps(content)

    def _check_version(self, version: str) -> None:
        if version != self.version:
            known = f"but {self.version!r}" if self.version else "it was not served from the registry"
            raise NotFoundError(f"No version {version[:80]!r} of {self.schema.model_name!r} here, {known}.")

    def _values(self, tensor: Tensor, feature: Feature) -> list[Any]:
        """Values of a tensor that has a row per value."""
        name, shape, datatype, data = tensor
        if not isinstance(datatype, str) or datatype not in _TAKES[feature.type]:
            raise InputError(
                f"Input {name!r}: datatype {datatype!r:.40} given, {DATATYPES[feature.type]} expected"
                + ("." if feature.type == "string" else ", or another one of numbers.")
            )
        if (
            not isinstance(shape, list)
            or len(shape) not in (1, 2)
            or any(type(side) is not int or side < 0 for side in shape)
            or shape[1:] not in ([], [1])
        ):
            raise InputError(f"Input {name!r}: shape {shape!r:.40} given, [n_rows, 1] or [n_rows] expected.")
        if isinstance(data, np.ndarray):
            data = data.tolist()
        if not isinstance(data, list):
            raise InputError(f"Input {name!r}: data must be a list of {shape[0]} values.")
        if data and isinstance(data[0], list):
            data = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in data]
        if len(data) != shape[0]:
            raise InputError(f"Input {name!r}: {len(data)} values given for shape {shape}.")
        if len(data) > self.max_rows:
            raise too_many_rows(len(data), self.max_rows)
        holds = _HOLDS[datatype]
        if not set(map(type, data)) <= {*holds, type(None)}:
            row = next(i for i, value in enumerate(data) if value is not None and type(value) not in holds)
            raise InputError(f"Input {name!r}: the value of row {row} is not of datatype {datatype}.")
        if datatype == "BYTES" and bytes in map(type, data):
            data = [_text(name, value) for value in data]
        return data


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be written as UTF-8."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _text(name: str, value: str | bytes | None) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise InputError(f"Input {name!r}: text that is not UTF-8 given.") from error


def _objects(items: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(items, list) or set(map(type, items)) - {dict}:
        raise InputError(f"{key} must be a list of objects, each with a name.")
    return items


def _metadata(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1, 1]}
