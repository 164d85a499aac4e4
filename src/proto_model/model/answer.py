"""What a served model answers: the label as in the table, its probability, and every class's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["answer_columns", "answer_frame"]


def answer_columns(probabilities: NDArray[np.float64], schema: ModelSchema) -> dict[str, NDArray[Any]]:
    """Columns of an answer by name, in order: `prediction`, `probability`, one probability per class.

    The prediction is the likeliest class, of equally likely ones the first, in the table's own type; strings
    are objects.
    """
    classes = np.array(schema.classes, dtype=object if schema.target_type == "string" else None)
    columns: dict[str, NDArray[Any]] = {
        "prediction": classes[probabilities.argmax(axis=1)],
        "probability": probabilities.max(axis=1),
    }
    for position, name in enumerate(schema.probability_columns):
        columns[name] = probabilities[:, position]
    return columns


def answer_frame(
    probabilities: NDArray[np.float64], schema: ModelSchema, explanations: list[dict[str, Any]] | None = None
) -> pd.DataFrame:
    """Data frame with a row per row of the request.

    Labels that are strings, and explanations, are objects, not pandas strings: MLServer's codecs know no
    others.

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
    series = {name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in columns.items()}
    return pd.DataFrame(series, copy=False)
