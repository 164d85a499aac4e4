import numpy as np

from proto_model.explanation.background import Background
from proto_model.explanation.lore.moves import Moves, Values, combined
from proto_model.schema import Feature, ModelSchema


def test_values_to_try_exist_and_reach_over_the_range(schema, rows):
    values = Values.of(Background.from_matrix(schema, rows))

    for j in range(5):
        assert np.isin(values.tried[j], rows[:, j]).all()
    assert values.tried[0][0] == np.nanmin(rows[:, 0])
    assert values.tried[0][-1] == np.nanmax(rows[:, 0])


def test_values_between_lie_between(schema, rows):
    values = Values.of(Background.from_matrix(schema, rows))

    up, down = values.between(0, 10.0, 90.0), values.between(0, 90.0, 10.0)

    assert up == down[::-1] == sorted(up)
    assert all(10 < value < 90 for value in up)
    assert values.between(1, 2.0, 3.0) == []


def test_values_between_neighbours_have_few_digits_and_stay_whole(schema, rows):
    rows = rows.copy()
    rows[:, 0] = np.where(np.arange(len(rows)) % 2, 12.34, 12.37)
    rows[:2, 0], rows[:, 4] = (12.35, 98.76), np.where(np.arange(len(rows)) % 2, 18, 60)
    values = Values.of(Background.from_matrix(schema, rows))

    assert values.known[0].tolist() == [12.34, 12.345, 12.35, 12.36, 12.37, 60, 98.76]
    assert values.known[4].tolist() == [18, 40, 60]
    assert values.between(4, 40.0, 18.0) == [30]
    assert values.between(4, 30.0, 40.0) == [35]
    assert values.between(4, 99.0, 60.0) == []  # above the training range


def test_values_towards_a_target_do_not_pass_it(schema, rows):
    values = Values.of(Background.from_matrix(schema, rows))

    assert values.towards(1, 1.0, np.array([0.5, 1.5, 3.2, 99.0]), up=True).tolist() == [1, 1, 3, 6]
    assert values.towards(1, 5.0, np.array([5.5, 4.5, 1.2, -9.0]), up=False).tolist() == [5, 5, 2, 0]


def test_combinations_are_foretold_from_single_changes():
    schema = ModelSchema(
        model_name="sum",
        target="large",
        target_type="string",
        classes=("no", "yes"),
        features=tuple(
            Feature(name, "double", False, minimum=0.0, maximum=4.0, median=2.0) for name in "abc"
        ),
    )
    background = Background.from_matrix(
        schema, np.array([[0.0, 0, 0], [2, 2, 2], [4, 4, 4], [1, 1, 1], [3, 3, 3]])
    )
    moves = Moves(np.array([0, 0, 1, 2]), np.array([2.0, 4.0, 2.0, 2.0]))
    free = np.full(3, np.inf)

    X = combined(np.zeros(3), background, moves, np.array([0.3, 0.3, 0.3, 0.1]), 0.55, 0.3, free)

    # 0.3 + 0.3 is enough, 0.3 + 0.1 nearly so; what costs more and takes it no further is left out.
    assert X.tolist() == [[2, 2, 0], [2, 0, 2], [0, 2, 2], [2, 2, 2]]
    assert combined(
        np.zeros(3), background, moves, np.array([0.3, 0.3, 0.3, 0.1]), 0.55, 0.3, np.array([0.1, 9, 9])
    ).tolist() == [[0, 2, 2]]


def test_a_value_between_two_others_shows_no_rounding_error():
    feature = Feature("x", "double", False, minimum=0.0, maximum=1.0, median=0.5)
    schema = ModelSchema("m", "t", "long", (0, 1), (feature,))
    known = np.arange(0, 1000, 2) / 1000  # between 0.174 and 0.176 there is 0.175
    values = Values.of(Background.from_matrix(schema, known[:, np.newaxis])).known[0]

    assert [value for value in values.tolist() if len(repr(value)) > len("0.175")] == []
    assert len(values) > len(known)
