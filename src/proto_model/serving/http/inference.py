"""The Open Inference Protocol V2 for rows: the bodies of `infer`, with a tensor per column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from proto_model.model.rows import RowReader
from proto_model.schema import ModelSchema
from proto_model.serving.http.params import checked_params
from proto_model.serving.http.scorer import Answer, Question
from proto_model.serving.http.tensor_protocol import Envelope, TensorProtocol, listed
from proto_model.serving.http.tensors import DATATYPES, TAKES

__all__ = ["Inference", "InferenceRequest"]


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


class Inference(TensorProtocol):
    """Reads and writes the V2 bodies of one model for rows.

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
        probabilities = {} if always_explains else dict.fromkeys(schema.probability_columns, "FP64")
        super().__init__(
            schema.model_name,
            version,
            inputs={feature.name: TAKES[feature.type] for feature in schema.features},
            outputs={
                "prediction": DATATYPES[schema.target_type],
                "probability": "FP64",
                **probabilities,
                "explanation": "BYTES",
            },
            max_rows=max_rows,
        )
        self.schema = schema
        self.always_explains = always_explains
        self._rows = RowReader(schema)

    def read(self, body: bytes) -> InferenceRequest:
        """Request of a JSON body.

        Raises
        ------
        InputError, LengthError
            If the body is not right, or has too many rows.
        """
        return self.request(self.opened(body))

    def request(self, envelope: Envelope) -> InferenceRequest:
        """Request of tensors, wherever they came from.

        Raises
        ------
        InputError, LengthError
            If a tensor, a parameter or the name of an output is not right, or there are too many rows.
        """
        outputs = self.output_names(envelope.outputs)
        known = checked_params(listed(envelope.params))
        matrix = self._rows.columns(self.columns(envelope.tensors))
        explain = self.always_explains or bool(known.get("explain")) or "explanation" in outputs
        return InferenceRequest(Question(matrix, known, explain), envelope.id, outputs)

    def outputs(self, request: InferenceRequest, answer: Answer) -> list[tuple[str, str, list[Any]]]:
        """Name, datatype and data of each tensor of an answer, all of shape [n_rows, 1]."""
        rows = answer.probabilities.tolist()
        most = list(map(max, rows))
        classes = self.schema.classes
        columns: dict[str, list[Any]] = {
            "prediction": [classes[row.index(highest)] for row, highest in zip(rows, most, strict=True)],
            "probability": most,
        }
        if not self.always_explains:
            by_class = zip(*rows, strict=True) if rows else [()] * len(classes)
            columns |= zip(self.schema.probability_columns, map(list, by_class), strict=True)
        if answer.explanations is not None:
            columns["explanation"] = [orjson.dumps(item).decode() for item in answer.explanations]
        wanted = request.outputs or self.output_datatypes
        return [(name, self.output_datatypes[name], columns[name]) for name in wanted if name in columns]

    def write(self, request: InferenceRequest, answer: Answer) -> bytes:
        """JSON body of an answer."""
        return self.closed(request.id, len(answer.probabilities), self.outputs(request, answer))
