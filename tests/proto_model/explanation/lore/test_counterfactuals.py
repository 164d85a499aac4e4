import numpy as np

from proto_model.explanation.background import Background
from proto_model.explanation.counterfactual import Freedom
from proto_model.explanation.interface import ExplainOptions
from proto_model.explanation.lore.moves import Values
from proto_model.explanation.lore.neighborhood import together


def test_freedom_allows_directions(schema, rows):
    background = Background.from_matrix(schema, rows)
    freedom = Freedom.of(
        ExplainOptions(immutable_features=("owner",), increase_only=("age",), decrease_only=("income",)),
        background,
    )
    x = np.array([50.0, 2, 0, 1, 40])
    X = np.array([[60.0, 3, 1, 0, 50], [40, 1, 0, np.nan, 30], x])

    assert freedom.allows(x, X).tolist() == [
        [False, True, False, True, True],
        [True, True, True, False, False],
        [True, True, True, True, True],
    ]


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


def test_searches_side_by_side_share_their_calls():
    def search(n_rounds, offset):
        seen = []
        for k in range(n_rounds):
            answer = yield np.full((k + 1, 1), offset + k, dtype=float)
            seen.append(answer.tolist())
        return seen

    both = together(search(3, 10), search(1, 20), search(0, 30))
    calls, answer = [], None
    try:
        rows = next(both)
        while True:
            calls.append(len(rows))
            answer = rows * 2
            rows = both.send(answer)
    except StopIteration as stop:
        results = stop.value

    assert calls == [2, 2, 3]
    assert results == [[[[20.0]], [[22.0], [22.0]], [[24.0]] * 3], [[[40.0]]], []]
