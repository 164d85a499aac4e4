"""The Open Inference Protocol V2 around one model, for rows and for files: its pages, and `infer`.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

import proto_model
from proto_model.errors import InputError
from proto_model.parameters import parameters_of
from proto_model.serving.http.errors import NotFoundError
from proto_model.serving.http.forms import parsed
from proto_model.serving.http.payload import Output, Payload, Question
from proto_model.serving.http.tensors import Tensor, UsualTensors, column_values, metadata, table_values

PLATFORM = "proto_model"

_LISTS = frozenset(parameter.name for parameter in parameters_of() if parameter.is_list)
_parts = itemgetter(*Tensor._fields)


class Envelope(NamedTuple):
    """Parts of an `infer` request."""

    tensors: Sequence[Tensor]
    params: Any = None
    id: str | None = None
    outputs: Sequence[Any] = ()


@dataclass(frozen=True)
class InferenceRequest:
    """What an `infer` request asks."""

    question: Question
    id: str | None = None  # given back with the answer
    outputs: tuple[str, ...] = ()  # the only tensors to answer with; all if it is empty


class Inference:
    """What the V2 protocol says about one model, and its `infer`; `version` is the registry's, if known."""

    def __init__(self, payload: Payload, model_name: str, version: str | None = None) -> None:
        self.payload = payload
        self.model_name = model_name
        self.version = version
        self._usual = UsualTensors(payload.inputs)

    def page(self, path: str) -> dict[str, Any] | None:
        """JSON of a path that tells about server or model; None for the path of `infer`."""
        parts = path.strip("/").split("/")[1:]
        if not parts:
            return {"name": "proto-model-turbo", "version": proto_model.__version__, "extensions": []}
        if parts == ["health", "live"]:
            return {"live": True}
        if parts == ["health", "ready"]:
            return {"ready": True}
        if parts[0] == "models" and len(parts) > 1:
            name, rest = parts[1], parts[2:]
            if name != self.model_name:
                raise NotFoundError(f"There is no model {name[:80]!r} here, only {self.model_name!r}.")
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
            f"There is nothing at {path[:80]!r}. There are /v2, /v2/health/live, /v2/health/ready and "
            f"/v2/models/{self.model_name}, with ready, infer and versions below it."
        )

    def metadata(self) -> dict[str, Any]:
        """Names, datatypes and shapes of inputs and outputs; some outputs come only when asked for."""
        return {
            "name": self.model_name,
            "versions": [self.version] if self.version else [],
            "platform": PLATFORM,
            "inputs": [metadata(name, takes[0]) for name, takes in self.payload.inputs.items()],
            "outputs": [metadata(*pair) for pair in self.payload.outputs.items()],
        }

    def read(self, body: bytes) -> InferenceRequest:
        """Request of a JSON body; raises as `request` does."""
        return self.request(_opened(body, self.payload.max_rows))

    def request(self, envelope: Envelope) -> InferenceRequest:
        """Request of tensors, wherever they came from; raises InputError or LengthError."""
        outputs = self._output_names(envelope.outputs)
        question = self.payload.question(self._rows(envelope.tensors), _listed(envelope.params), outputs)
        return InferenceRequest(question, envelope.id, outputs)

    def outputs(self, request: InferenceRequest, answer: Any) -> list[Output]:
        """Tensors of an answer, all of shape [n_rows, 1]."""
        return self.payload.tensors(answer, request.outputs or self.payload.outputs)

    def write(self, request: InferenceRequest, answer: Any) -> bytes:
        """JSON body of an answer."""
        content: dict[str, Any] = {"model_name": self.model_name}
        if self.version:
            content["model_version"] = self.version
        if request.id is not None:
            content["id"] = request.id
        content["outputs"] = [
            {"name": name, "shape": [len(answer), 1], "datatype": datatype, "data": data}
            for name, datatype, data in self.outputs(request, answer)
        ]
        return orjson.dumps(content)

    def _rows(self, tensors: Sequence[Tensor]) -> Any:
        """Rows of one tensor that is no column of the model and holds all of them, or of one per column."""
        reader, max_rows = self.payload.reader, self.payload.max_rows
        usual = self._usual.columns(tensors, max_rows)
        if usual is not None:
            return reader.columns(usual)
        if len(tensors) == 1:
            tensor = Tensor(*tensors[0])
            if isinstance(tensor.name, str) and tensor.name not in self.payload.inputs:
                return reader.tensor(*table_values(tensor, list(self.payload.inputs), max_rows))
        return reader.columns(self._columns(tensors))

    def _columns(self, tensors: Sequence[Tensor]) -> dict[str, list[Any]]:
        """Values of the inputs that are known, by name; others are left out."""
        columns: dict[str, list[Any]] = {}
        n_rows = None
        for tensor in itertools.starmap(Tensor, tensors):
            if not isinstance(tensor.name, str):
                raise InputError("Every input needs a name, a shape, a datatype and data.")
            takes = self.payload.inputs.get(tensor.name)
            if takes is None:
                continue
            if tensor.name in columns:
                raise InputError(f"Input {tensor.name!r} given more than once. Send it once.")
            columns[tensor.name] = values = column_values(tensor, takes, self.payload.max_rows)
            if n_rows is None:
                n_rows = len(values)
            elif len(values) != n_rows:
                raise InputError(f"Input {tensor.name!r} has {len(values)} rows, others have {n_rows}.")
        if not columns:
            raise InputError(
                f"None of the inputs is a column of the model. Send one tensor for each of "
                f"{', '.join(list(self.payload.inputs)[:20])}."
            )
        return columns

    def _output_names(self, names: Sequence[Any]) -> tuple[str, ...]:
        """Outputs that a request asks for; raises InputError for one that there is not."""
        for name in names:
            if not isinstance(name, str) or name not in self.payload.outputs:
                raise InputError(
                    f"There is no output {name!r:.80}. There are {', '.join(self.payload.outputs)}."
                )
        return tuple(names)

    def _check_version(self, version: str) -> None:
        if version != self.version:
            known = f"only {self.version!r}" if self.version else "it is not served from the registry"
            raise NotFoundError(f"There is no version {version[:80]!r} of {self.model_name!r} here: {known}.")


def _opened(body: bytes, max_rows: int) -> Envelope:
    """Parts of a JSON body."""
    content = parsed(body, max_rows)
    request_id = content.get("id")
    if request_id is not None and not _is_text(request_id):
        raise InputError("id must be a string.")
    inputs = _objects(content.get("inputs"), "inputs")
    outputs = () if content.get("outputs") is None else _objects(content["outputs"], "outputs")
    try:
        tensors = list(map(_parts, inputs))
    except KeyError:
        tensors = [Tensor(*map(item.get, Tensor._fields)) for item in inputs]
    names = [item.get("name") for item in outputs]
    return Envelope(tensors, content.get("parameters"), request_id, names)


def _listed(params: Any) -> Any:
    """Parameters with a list where one text stands for it: V2 knows no lists of texts."""
    if not isinstance(params, Mapping):
        return params
    return {
        name: [value] if name in _LISTS and isinstance(value, str) else value
        for name, value in params.items()
    }


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be written as UTF-8."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _objects(items: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(items, list) or set(map(type, items)) - {dict}:
        raise InputError(f"{key} must be a list of objects, each with a name.")
    return items
