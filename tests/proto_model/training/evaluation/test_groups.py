import numpy as np
import pandas as pd
import pytest

from proto_model.training.evaluation import metrics_by_group

X = pd.DataFrame(
    {
        "sex": np.array(["f", "f", "f", "m", "m", None], dtype=object),
        "same": np.array(["x"] * 6, dtype=object),
        "id": np.arange(6.0),
    }
)
Y = np.array([0, 1, 1, 0, 1, 1])
PREDICTED = np.array([0, 1, 0, 1, 1, 1])


def test_figures_of_groups_counted_by_hand():
    table = metrics_by_group(X, Y, PREDICTED, 2, ["sex"]).set_index("group")

    assert table.loc["f", "rows"] == 3
    assert table.loc["f", "accuracy"] == pytest.approx(2 / 3)
    assert table.loc["f", "balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert table.loc["f", "predicted_positive"] == pytest.approx(1 / 3)
    assert table.loc["m", "false_positive_rate"] == 1.0
    assert table.loc["(missing)", "true_positive_rate"] == 1.0
    assert np.isnan(table.loc["(missing)", "false_positive_rate"])


def test_columns_with_one_value_or_too_many_are_passed_over():
    wide = pd.DataFrame({"id": [f"row {i}" for i in range(40)]}, dtype=object)
    flags = np.arange(40) % 2

    assert metrics_by_group(X, Y, PREDICTED, 2, ["same"]).empty
    assert metrics_by_group(wide, flags, flags, 2, ["id"]).empty


def test_booleans_coded_as_numbers_are_groups_and_many_classes_have_fewer_columns():
    flags = pd.DataFrame({"flag": [0.0, 1.0, np.nan, 1.0]})
    y = np.array([0, 1, 2, 1])

    table = metrics_by_group(flags, y, y, 3, ["flag"])

    assert list(table["group"]) == ["(missing)", "0.0", "1.0"]
    assert "true_positive_rate" not in table.columns
    assert (table["accuracy"] == 1).all()
