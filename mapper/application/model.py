"""A model in an application's own words."""

from __future__ import annotations

from collections.abc import Mapping as Table

from mapper.application.answer import MappedAnswers
from mapper.application.files import MAPPING
from mapper.application.mapping import Mapping
from mapper.application.reader import read_mapping
from mapper.application.request import MappedRequests
from mapper.errors import InvalidRequestError, MappingError
from mapper.mapping.model import TabularModel
from mapper.mapping.request import MAX_ROWS
from mapper.mapping.schema import ModelSchema


class MappedModel(TabularModel):
    """A model as `mapping.yaml` tells it; `schema` is in the client's words, `mapping.inside` the model's.

    Examples
    --------
    >>> model = MappedModel(read_mapping(b'''
    ... mapping: 1
    ... units: {g: {factor: 0.001}}
    ... request: {grams: {feature: weight, unit: g}}
    ... ''', ModelSchema.from_dict({
    ...     "schema_version": "1.0", "model_name": "fruit", "target": {"name": "kind", "type": "string"},
    ...     "classes": ["apple", "pear"],
    ...     "features": [{"name": "weight", "type": "double", "nullable": False,
    ...                   "minimum": 0.08, "maximum": 0.25, "median": 0.15}]})))
    >>> model.map_request({"data": {"grams": 120}})
    {'inputs': {'weight': [0.12]}}
    """

    def __init__(self, mapping: Mapping, version: str | None = None, max_rows: int = MAX_ROWS) -> None:
        super().__init__(mapping.outside(), version, max_rows)
        self.mapping = mapping
        self.requests = MappedRequests(mapping, max_rows)
        self.answers = MappedAnswers(mapping, version)


def tabular_model(
    schema: ModelSchema, files: Table[str, bytes], version: str | None = None, max_rows: int = MAX_ROWS
) -> TabularModel:
    """The model of a version, in the words of the mapping that is among its files, if there is one.

    Raises MappingError if the mapping does not fit.
    """
    if MAPPING not in files:
        return TabularModel(schema, version, max_rows)
    return MappedModel(read_mapping(files[MAPPING], schema), version, max_rows)


def check_mapping(text: bytes, schema: ModelSchema) -> MappedModel:
    """A model with the mapping in a text, if it fits the schema.

    Raises MappingError, which lists every fault; one is that the examples of the fields do not make a row
    that the model takes.
    """
    model = MappedModel(read_mapping(text, schema))
    try:
        model.map_request({"data": model.schema.typical_record})
    except InvalidRequestError as error:
        faults = "\n".join(f"  {fault}" for fault in error.errors)
        raise MappingError(
            f"The examples of the fields do not make a row that the model takes:\n{faults}\n"
            "Change the field's `example`, or the expression."
        ) from error
    return model
