"""The Open Inference Protocol V2 around one model, for rows and for files: what it tells, and `infer`.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from proto_model.errors import InputError
from proto_model.parameters import parameters_of
from proto_model.serving.http.binary import ALL_WANTED, WANTED, filled, split, written
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
    binary: frozenset[Any] | None = frozenset()  # outputs that are wanted as raw bytes; None: all


@dataclass(frozen=True)
class InferenceRequest:
    """What an `infer` request asks."""

    question: Question
    id: str | None = None  # given back with the answer
    outputs: tuple[str, ...] = ()  # the only tensors to answer with; all if it is empty
    binary: frozenset[Any] | None = frozenset()  # those wanted as raw bytes; None: all


class Inference:
    """What the V2 protocol says about one model, and its `infer`; `version` is the registry's, if known."""

    def __init__(self, payload: Payload, model_name: str, version: str | None = None) -> None:
        self.payload = payload
        self.model_name = model_name
        self.version = version
        self._usual = UsualTensors(payload.inputs)

    def metadata(self) -> dict[str, Any]:
        """Names, datatypes and shapes of inputs and outputs; some outputs come only when asked for."""
        return {
            "name": self.model_name,
            "versions": [self.version] if self.version else [],
            "platform": PLATFORM,
            "inputs": [metadata(name, takes[0]) for name, takes in self.payload.inputs.items()],
            "outputs": [metadata(*pair) for pair in self.payload.outputs.items()],
        }

    def read(self, body: bytes, json_length: bytes = b"") -> InferenceRequest:
        """Request of a body that is JSON, or begins with so many bytes of it; raises as `request` does."""
        return self.request(_opened(body, json_length, self.payload.max_rows))

    def request(self, envelope: Envelope) -> InferenceRequest:
        """Request of tensors, wherever they came from; raises InputError or LengthError."""
        outputs = self._output_names(envelope.outputs)
        question = self.payload.question(self._rows(envelope.tensors), _listed(envelope.params), outputs)
        return InferenceRequest(question, envelope.id, outputs, envelope.binary)

    def outputs(self, request: InferenceRequest, answer: Any) -> list[Output]:
        """Tensors of an answer, all of shape [n_rows, 1]."""
        return self.payload.tensors(answer, request.outputs or self.payload.outputs)

    def write(self, request: InferenceRequest, answer: Any) -> list[bytes]:
        """Body of an answer: JSON, and then the outputs that are wanted as raw bytes."""
        content: dict[str, Any] = {"model_name": self.model_name}
        if self.version:
            content["model_version"] = self.version
        if request.id is not None:
            content["id"] = request.id
        outputs = [
            {"name": name, "shape": [len(answer), 1], "datatype": datatype, "data": data}
            for name, datatype, data in self.outputs(request, answer)
        ]
        if request.binary or request.binary is None:
            binary = request.binary
            return written(content, outputs, [binary is None or item["name"] in binary for item in outputs])
        content["outputs"] = outputs
        return [orjson.dumps(content)]

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


def _opened(body: bytes, json_length: bytes, max_rows: int) -> Envelope:
    """Parts of a body."""
    raw: memoryview | None = None
    if json_length:
        body, raw = split(body, json_length)
    content = parsed(body, max_rows)
    request_id = content.get("id")
    if request_id is not None and not _is_text(request_id):
        raise InputError("id must be a string.")
    inputs = _objects(content.get("inputs"), "inputs")
    outputs = () if content.get("outputs") is None else _objects(content["outputs"], "outputs")
    if raw is not None or any("parameters" in item for item in inputs):
        inputs = filled(inputs, raw or memoryview(b""), max_rows)
    params = content.get("parameters")
    binary: frozenset[Any] | None = _binary(outputs)
    if isinstance(params, dict) and ALL_WANTED in params:
        all_wanted = params.pop(ALL_WANTED)
        if not isinstance(all_wanted, bool):
            raise InputError(f"{ALL_WANTED} is {all_wanted!r:.40}, true or false expected.")
        binary = None if all_wanted and not outputs else binary
    try:
        tensors = list(map(_parts, inputs))
    except KeyError:
        tensors = [Tensor(*map(item.get, Tensor._fields)) for item in inputs]
    names = [item.get("name") for item in outputs]
    return Envelope(tensors, params, request_id, names, binary)


def _binary(outputs: Sequence[Mapping[str, Any]]) -> frozenset[Any]:
    """Names of the outputs that are wanted as raw bytes."""
    names = []
    for output in outputs:
        parameters = output.get("parameters")
        wanted = parameters.get(WANTED, False) if isinstance(parameters, dict) else False
        if not isinstance(wanted, bool):
            raise InputError(f"{WANTED} of an output is {wanted!r:.40}, true or false expected.")
        if wanted and isinstance(output.get("name"), str):
            names.append(output["name"])
    return frozenset(names)


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
