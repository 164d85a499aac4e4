import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import ArtifactError, InputError
from proto_model.explanation.background import MAX_ROWS, Background, Freedom, short_number_between
from proto_model.parameters import Parameters

finite = st.floats(-1e12, 1e12)


@given(finite, finite)
def test_a_short_number_separates_what_it_stands_between(a, b):
    low, high = sorted((a, b))

    assert low == high or low <= short_number_between(low, high) < high


def test_cut_points_have_few_digits_and_lie_between_the_values(schema):
    column = np.array([883.4, 884.9, 900.123, 900.456])
    X = np.column_stack([column, *np.zeros((4, 4))])

    (cuts, *_) = Background.from_matrix(schema, X).cuts

    assert cuts.tolist() == [884, 900, 900.3]


def test_a_large_background_is_thinned_evenly(schema):
    X = np.zeros((3 * MAX_ROWS, 5))
    X[:, 0] = np.arange(len(X))

    thinned = Background.from_matrix(schema, X).matrix

    assert len(thinned) == MAX_ROWS
    assert thinned[0, 0] == 0
    assert thinned[-1, 0] == len(X) - 1


@pytest.mark.parametrize("shape", [(0, 5), (3, 4), (5,)])
def test_a_background_of_another_shape_is_refused(schema, shape):
    with pytest.raises(ArtifactError, match="background has shape"):
        Background.from_matrix(schema, np.zeros(shape))


def test_distance_counts_spreads_of_numbers_and_changes_of_categories(schema):
    X = np.zeros((5, 5))
    X[:, 0] = [0, 10, 20, 30, 40]  # median absolute deviation 10
    X[:, 1] = [0, 0, 0, 0, 5]  # median absolute deviation 0, standard deviation 2
    background = Background.from_matrix(schema, X)
    x = np.array([10.0, 0, 0, 0, 40])
    others = np.array([[25.0, 0, 0, 0, 40], [10, 1, 0, 0, 40], [10, 0, 1, 2, 40], [np.nan, 0, 0, 0, 40]])
    unknown_colour = np.array([10.0, 0, 0, np.nan, 40])

    assert background.distance(x, others).tolist() == [1.5, 0.5, 2, 1]
    assert background.distance(unknown_colour, np.array([x, unknown_colour])).tolist() == [1, 0]


def test_values_are_shown_in_the_feature_s_own_type(schema, rows):
    background = Background.from_matrix(schema, rows)

    shown = [background.json_value(j, 1.0) for j in range(5)]
    assert shown == [1.0, 1, True, "green", 1]
    assert [type(value) for value in shown] == [float, int, bool, str, int]
    assert background.json_value(3, np.nan) is None


def test_infinite_values_and_other_shapes_are_refused_by_name(schema, rows):
    background = Background.from_matrix(schema, rows)
    bad = rows[:2].copy()
    bad[1, 4] = np.inf

    with pytest.raises(InputError, match=r"Row 1, feature 'age'"):
        background.check(bad)
    with pytest.raises(InputError, match=r"expected \(n_rows, 5\)"):
        background.check(rows[:, :3])


def test_freedom_allows_directions(schema, rows):
    background = Background.from_matrix(schema, rows)
    freedom = Freedom.of(
        Parameters(
            immutable_features=("owner",),
            mutable_features=("age",),
            increase_only=("age",),
            decrease_only=("income",),
        ),
        background,
    )
    x = np.array([50.0, 2, 0, 1, 40])
    X = np.array([[60.0, 3, 1, 0, 50], [40, 1, 0, np.nan, 30], x])

    assert freedom.allows(x, X).tolist() == [
        [False, True, False, True, True],
        [True, True, True, False, False],
        [True, True, True, True, True],
    ]
