"""What a mapper answers, as types for applications: dictionaries as in schemas/mapper-response.schema.json.

An application's own mapping may give rows other fields.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

__all__ = ["Answer", "Change", "Counterfactual", "Explanation", "ModelName", "Prediction", "Rule", "Warned"]

Label = str | float | bool


class ModelName(TypedDict):
    """The model that answered; the version is None where the mapper knows none."""

    name: str
    version: str | None


class Rule(TypedDict):
    """Conditions that hold around a row, and the class that follows."""

    premises: list[dict[str, Any]]
    consequence: Label
    text: str
    precision: float | None
    coverage: float | None


Change = TypedDict("Change", {"feature": str, "from": Any, "to": Any, "against": NotRequired[bool]})


class Counterfactual(TypedDict):
    """Changes that give the row another class."""

    changes: list[Change]
    prediction: Label
    probability: float
    valid: bool
    distance: float
    text: str


class Explanation(TypedDict):
    """Why a row got its class, and what would change it."""

    prediction: Label
    probability: float
    rule: Rule
    counterfactuals: list[Counterfactual]
    feature_importances: dict[str, float]
    fidelity: float | None
    engine: str
    notes: list[str]


class Prediction(TypedDict):
    """The answer for a row."""

    prediction: Label
    probability: float
    probabilities: NotRequired[dict[str, float]]
    prediction_set: NotRequired[list[Label]]
    explanation: NotRequired[Explanation]


class Warned(TypedDict):
    """A value that training has not seen."""

    row: int
    field: str
    kind: str
    message: str


class Answer(TypedDict):
    """The answer to a request: predictions in the order of the rows, or the summary of a file job."""

    model: ModelName
    predictions: list[Prediction]
    file: NotRequired[dict[str, Any]]
    warnings: list[Warned]
    warning_count: int
    session: NotRequired[Any]
