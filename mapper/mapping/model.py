"""The two mapped models of this product: one that predicts, and the one that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from mapper.errors import Findings, InvalidRequestError, ModelServerAnswerError
from mapper.mapping.answer import AnswerMapper, ModelAnswer, TangoResponse
from mapper.mapping.interfaces import ExplainableTangoModel, TangoModel
from mapper.mapping.objects import Bytes
from mapper.mapping.parameters import check_parameters, parameters_text
from mapper.mapping.request import MAX_ROWS, ModelRequest, RequestMapper
from mapper.mapping.schema import ModelSchema


class TabularModel(ExplainableTangoModel, TangoModel):
    """Checks and translates requests and answers of one version of a tabular classifier.

    The version's number stands in every answer; a request may have at most `max_rows` rows.

    Examples
    --------
    >>> model = TabularModel(ModelSchema.from_dict({
    ...     "schema_version": "1.0", "model_name": "fruit", "target": {"name": "kind", "type": "string"},
    ...     "classes": ["apple", "pear"],
    ...     "features": [{"name": "weight", "type": "double", "nullable": False,
    ...                   "minimum": 80.0, "maximum": 250.0, "median": 150.0}]}))
    >>> model.map_request({"data": {"weight": 120}})
    {'inputs': {'weight': [120]}}
    """

    def __init__(self, schema: ModelSchema, version: str | None = None, max_rows: int = MAX_ROWS) -> None:
        self.schema = schema
        self.requests = RequestMapper(schema, max_rows)
        self.answers = AnswerMapper(schema, version)
        self._explainer: TangoModel = TabularExplainer(self, {})

    def map_request(self, tango_request: Any, session: Any = None) -> ModelRequest:
        """The model server's request; `session` goes back to the client with the answer.

        A request is an object as a dictionary, as bytes of JSON, or with `data`, `file`, `parameters` and
        `session` as attributes; a session is anything that JSON can say. Raises InvalidRequestError, which
        lists every fault, NotJsonError, or TooLargeError if there are too many rows.
        """
        return self.requests.map(tango_request, explain=False, session=session)

    def map_response(self, response: Any) -> TangoResponse:
        """What the client gets for an answer, as a dictionary or as bytes of JSON.

        Raises ModelServerAnswerError if it does not fit schema or request.
        """
        return self.answers.map(*_answer(response))

    def get_explainer(self, **kwargs: Any) -> TangoModel:
        """The explainer of this model, or what `set_explainer` put in its place.

        Keywords are explanation parameters for requests that give none; another explainer gets them if it is
        explainable itself. Raises InvalidRequestError if one does not fit the schema, or cannot be given.

        """
        if not kwargs:
            return self._explainer
        if isinstance(self._explainer, TabularExplainer):
            return TabularExplainer(self._explainer.model, kwargs)
        if isinstance(self._explainer, ExplainableTangoModel):
            return self._explainer.get_explainer(**kwargs)
        raise InvalidRequestError(
            f"{type(self._explainer).__name__}, which explains this model, takes no options here. "
            "Give them in the request."
        )

    def set_explainer(self, explainer: TangoModel) -> None:
        """Explain by another model from now on."""
        self._explainer = explainer


TabularModel.get_explainer.__doc__ = f"{TabularModel.get_explainer.__doc__}{parameters_text('explain')}"


class TabularExplainer(TangoModel):
    """Maps requests whose answers explain each prediction; `options` hold where a request gives none."""

    def __init__(self, model: TabularModel, options: Mapping[str, Any]) -> None:
        faults = Findings()
        check_parameters(options, model.schema, faults, explain=True, is_file=False)
        if faults.count:
            raise InvalidRequestError(
                "The explanation parameters do not fit the model.", faults.kept, faults.count
            )
        self.model = model
        self._options = dict(options)

    def map_request(self, tango_request: Any, session: Any = None) -> ModelRequest:
        """The model server's request, as `TabularModel.map_request` with explanations asked for."""
        return self.model.requests.map(tango_request, explain=True, defaults=self._options, session=session)

    def map_response(self, response: Any) -> TangoResponse:
        """What the client gets, explanations among it."""
        return self.model.answers.map(*_answer(response), explain=True)


def _answer(response: Any) -> tuple[Any, ModelRequest | None]:
    """The content of a model server's answer, and the request if it is known."""
    if isinstance(response, ModelAnswer):
        return response, response.request
    if isinstance(response, Bytes):
        try:
            return orjson.loads(response), None
        except orjson.JSONDecodeError as error:
            raise ModelServerAnswerError(f"The model server's answer is not JSON: {error}.") from error
    return response, None
