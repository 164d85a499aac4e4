import numpy as np

from proto_model.explanation.lore.search import together


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
