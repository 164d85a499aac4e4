"""What a served model answers: one table per task, from which every form of an answer is derived.

To add a field of the answer, add a line to the table of its task. JSON records, V2 tensors, MLflow's
signature, data frames and the columns of files follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proto_model.model.decision import PLAIN, Decision
from proto_model.parameters import EXPLAINER, FILE, ROWS, Parameters, Signature
from proto_model.schema import FeatureType, Label, ModelSchema

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class AnswerField:
    """One row of the table."""

    name: str
    type: FeatureType | Literal["json"]  # `json`: an object, or text where there are no objects
    values: Callable[[Answer | AnswerRow], Any]  # of an answer one per row, of a row its own
    labels: tuple[Label, ...] | None = None  # set where the values are positions in it
    of: tuple[Signature, ...] = (ROWS, EXPLAINER, FILE)
    when: Callable[[Parameters], bool] | None = None  # whether a request asks for it; None: always

    @cached_property
    def label_array(self) -> NDArray[Any]:
        """The labels in their own type; strings are objects."""
        return np.array(self.labels, dtype=object if self.type == "string" else None)

    @cached_property
    def label_list(self) -> list[Any]:
        """The same as JSON has them."""
        labels: list[Any] = self.label_array.tolist()
        return labels

    def column(self, answer: Answer) -> NDArray[Any]:
        """Values of an answer in the field's own type; strings and JSON are objects."""
        values = self.values(answer)
        if self.labels is not None:
            labels: NDArray[Any] = self.label_array[values]
            return labels
        if isinstance(values, np.ndarray):
            return values
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column

    def cell(self, row: AnswerRow) -> Any:
        """Value of a row, as JSON has it."""
        value = self.values(row)
        return value if self.labels is None else self.label_list[value]


def classification_fields(schema: ModelSchema) -> tuple[AnswerField, ...]:
    """Fields of an answer that is a class, the one that the model's `Decision` takes."""

    def probability_of(position: int) -> Callable[[Answer | AnswerRow], Any]:
        return lambda answer: answer.by_class[position]

    by_class = enumerate(schema.probability_columns)
    return (
        AnswerField("prediction", schema.target_type, attrgetter("best"), labels=schema.classes),
        AnswerField("probability", "double", attrgetter("highest")),
        *(AnswerField(name, "double", probability_of(place), of=(ROWS, FILE)) for place, name in by_class),
        AnswerField(
            "prediction_set",
            "json",
            attrgetter("prediction_sets"),
            when=lambda p: bool(p.coverage),
        ),
        AnswerField("explanation", "json", attrgetter("explanations"), when=attrgetter("explain")),
        AnswerField(
            "error", "string", attrgetter("errors"), of=(FILE,), when=lambda p: p.on_bad_row == "mark"
        ),
    )


class AnswerRow(NamedTuple):
    """One row of an answer in plain numbers, under the names that `Answer` has for columns."""

    best: int
    by_class: list[float]
    prediction_sets: Any
    explanations: Any
    errors: Any

    @property
    def highest(self) -> float:
        """Score of the predicted class."""
        return self.by_class[self.best]


@dataclass(eq=False)  # not frozen, which would cost a tenth of a small answer's time
class Answer:
    """What a model says to some rows; explanations and errors, if they were asked for, are one per row."""

    fields: tuple[AnswerField, ...] = field(repr=False)
    scores: NDArray[np.float64]  # shape (n_rows, n_outputs); of a classifier the probability of each class
    explanations: Sequence[Any] | None = None
    errors: Sequence[str | None] | None = None  # why a row has no prediction, None for the others
    decision: Decision = PLAIN
    coverage: float = 0.0  # of the prediction sets; 0 if nobody asked for them

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.scores)

    @property
    def by_class(self) -> NDArray[np.float64]:
        """Scores of each class, shape (n_outputs, n_rows)."""
        return self.scores.T

    @property
    def best(self) -> Any:
        """Position of each row's predicted class."""
        return self.decision.decide(self.scores)

    @property
    def highest(self) -> Any:
        """Each row's score of the predicted class."""
        if self.decision.costs is None:
            return self.scores.max(axis=1)
        return self.scores[np.arange(len(self.scores)), self.best]

    @property
    def prediction_sets(self) -> Any:
        """Labels that each row may have, with the probability that was asked for."""
        labels = next(field.label_list for field in self.fields if field.labels is not None)
        return self.decision.prediction_sets(self.scores, labels, self.coverage)

    def records(self) -> list[dict[str, Any]]:
        """Rows as JSON objects."""
        if len(self.scores) == 1:
            return [self._only_row()]
        columns = self.lists()
        return [dict(zip(columns, row)) for row in zip(*columns.values())]  # noqa: B905  # all are as long

    def lists(self) -> dict[str, list[Any]]:
        """Values of each field, by its name, as JSON has them."""
        if len(self.scores) == 1:
            return {name: [value] for name, value in self._only_row().items()}
        return {field.name: field.column(self).tolist() for field in self.fields}

    def _only_row(self) -> dict[str, Any]:
        """The record of a single row without NumPy, which takes 5 µs for one, of a request's 25."""
        by_class = self.scores[0].tolist()
        row = AnswerRow(
            by_class.index(max(by_class)) if self.decision.costs is None else int(self.best[0]),
            by_class,
            self.coverage and self.prediction_sets[0],
            self.explanations and self.explanations[0],
            self.errors and self.errors[0],
        )
        return {field.name: field.cell(row) for field in self.fields}

    def frame(self) -> pd.DataFrame:
        """Data frame with a column per field.

        Labels that are strings, and explanations, are objects, not pandas strings: MLServer's codecs know no
        others.
        """
        import pandas as pd

        columns = {field.name: field.column(self) for field in self.fields}
        series = {name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in columns.items()}
        return pd.DataFrame(series, copy=False)
