import numpy as np
import pytest

from proto_model.errors import DataError
from proto_model.schema import Feature, ModelSchema
from proto_model.training.costs import cost_matrix, expected_cost


def schema(*classes):
    kind = "string" if isinstance(classes[0], str) else "boolean" if classes[0] is False else "long"
    return ModelSchema("m", "y", kind, classes, (Feature("x", "double", False, minimum=0.0, maximum=1.0),))


TUMORS = schema("benign", "malignant")


@pytest.mark.parametrize(
    ("text", "classes", "expected"),
    [
        ("malignant>benign:10,benign>malignant:2", TUMORS, [[0, 2], [10, 0]]),
        (" malignant>benign:2.5 ", TUMORS, [[0, 1], [2.5, 0]]),
        ("malignant:10", TUMORS, [[0, 1], [10, 0]]),
        ("a:5, a>c:7,", schema("a", "b", "c"), [[0, 5, 7], [1, 0, 1], [1, 1, 0]]),
        ("a>c:7,a:5", schema("a", "b", "c"), [[0, 5, 7], [1, 0, 1], [1, 1, 0]]),
        (">50K><=50K:3", schema("<=50K", ">50K"), [[0, 1], [3, 0]]),
        ("a,b>c:d:3", schema("a,b", "c:d"), [[0, 3], [1, 0]]),
        ("1>0:4", schema(0, 1), [[0, 1], [4, 0]]),
        ("balanced", TUMORS, [[0, 2 / 3], [2, 0]]),
    ],
)
def test_costs_are_read(text, classes, expected):
    n_rows = [30, 10, 20][: len(classes.classes)]

    np.testing.assert_allclose(cost_matrix(text, classes, n_rows), expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("malign>benign:10", "The classes are 'benign', 'malignant'"),
        ("malignant>malignant:10", "no cost of a class"),
        ("malignant>benign", "no cost of a class"),
        ("malignant>benign:", "a number above 0 and up to 1,000,000,000 expected"),
        ("malignant>benign:0", "a number above 0 and up to"),
        ("malignant>benign:-1", "a number above 0 and up to"),
        ("malignant>benign:nan", "a number above 0 and up to"),
        (
            "malignant>benign:1000000001",
            "'1000000001' given, a number above 0 and up to 1,000,000,000 expected",
        ),
        ("malignant>benign:1e400", "a number above 0 and up to"),
        ("malignant>benign:1,malignant>benign:2", "given twice"),
    ],
)
def test_costs_that_do_not_fit_are_refused(text, words):
    with pytest.raises(DataError, match=f"^costs: .*{words}"):
        cost_matrix(text, TUMORS, [1, 1])


def test_costs_of_very_many_classes_are_read_without_going_through_all_pairs():
    names = [f"class {k}" for k in range(1000)]  # a million pairs for each cost: that took two minutes

    costs = cost_matrix(",".join(f"{name}:2" for name in names), schema(*names), [1] * 1000)

    assert (costs.sum(axis=1) == 2 * 999).all()


@pytest.mark.parametrize("text", [" ", "none", " None", "auto"])
def test_no_costs_are_none(text):
    assert cost_matrix(text, TUMORS, [1, 1]) is None


def test_the_expected_cost_is_the_mean_over_rows():
    costs = np.array([[0.0, 1.0], [10.0, 0.0]])

    assert expected_cost(costs, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == 11 / 4
