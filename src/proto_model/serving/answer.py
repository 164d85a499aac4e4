"""What a served model answers: the label as in the table, its probability, and every class's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto_model.schema import Label, ModelSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["answer_columns", "answer_frame", "labels"]


def labels(probabilities: NDArray[np.float64], schema: ModelSchema) -> list[Label]:
    """Likeliest class of each row as the table spells it; of equally likely ones the first."""
    classes = schema.classes
    return [classes[index] for index in probabilities.argmax(axis=1).tolist()]


def answer_columns(probabilities: NDArray[np.float64], schema: ModelSchema) -> dict[str, Any]:
    """Columns of an answer by name, in order: `prediction`, `probability`, one probability per class."""
    prediction = np.empty(len(probabilities), dtype=object)
    prediction[:] = labels(probabilities, schema)
    columns: dict[str, Any] = {"prediction": prediction, "probability": probabilities.max(axis=1)}
    for position, name in enumerate(schema.probability_columns):
        columns[name] = probabilities[:, position]
    return columns


def answer_frame(
    probabilities: NDArray[np.float64], schema: ModelSchema, explanations: list[dict[str, Any]] | None = None
) -> pd.DataFrame:
    """Data frame with a row per row of the request.

    Labels and explanations are objects, not pandas strings: MLServer's codecs know no others.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)
        What the forest said.
    schema : ModelSchema
        Names the classes.
    explanations : list of dict or None
        One per row, for the column `explanation`.
    """
    import pandas as pd

    columns = answer_columns(probabilities, schema)
    if explanations is not None:
        cells = np.empty(len(explanations), dtype=object)
        cells[:] = explanations
        columns["explanation"] = cells
    frame = pd.DataFrame(columns, copy=False)
    if frame["prediction"].dtype != object:  # pandas 3 may infer a string type
        frame["prediction"] = pd.Series(columns["prediction"], dtype=object)
    return frame
