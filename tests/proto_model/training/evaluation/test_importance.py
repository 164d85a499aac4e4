import numpy as np

from proto_model.training.evaluation import permutation_importance


def threshold_model(matrix):
    """Looks at the second column alone."""
    positive = np.where(matrix[:, 1] > 0, 0.9, 0.2)
    return np.column_stack([1 - positive, positive])


def test_only_the_feature_that_decides_is_important():
    matrix = np.random.default_rng(1).normal(size=(400, 3))
    y = (matrix[:, 1] > 0).astype(int)

    table = permutation_importance(threshold_model, matrix, y, ["a", "b", "c"], random_state=0)

    assert table["feature"].tolist() == ["b", "a", "c"]
    assert 0.3 < table["importance"][0] < 0.4  # half of the rows change sides, 0.7 between them
    assert (table["importance"][1:].abs() < 1e-12).all()


def test_rare_classes_weigh_as_much_as_common_ones():
    matrix = np.where(np.arange(1000) < 990, -1.0, 1.0).reshape(-1, 1)
    y = (matrix[:, 0] > 0).astype(int)

    table = permutation_importance(
        lambda rows: threshold_model(np.hstack([rows, rows])), matrix, y, ["a"], random_state=0
    )

    assert table["importance"][0] > 0.3


def test_cost_is_bounded_and_the_same_seed_gives_the_same_table():
    matrix = np.random.default_rng(1).normal(size=(5000, 2))
    y = (matrix[:, 1] > 0).astype(int)
    calls = []

    def counting(rows):
        calls.append(len(rows))
        return threshold_model(rows)

    first, second = (
        permutation_importance(counting, matrix, y, ["a", "b"], random_state=3, n_repeats=2, max_rows=100)
        for _ in range(2)
    )

    assert calls == [100, 200, 200] * 2
    assert first.equals(second)


def test_the_table_given_is_not_changed():
    matrix = np.random.default_rng(1).normal(size=(50, 2))
    before = matrix.copy()

    permutation_importance(threshold_model, matrix, np.arange(50) % 2, ["a", "b"], random_state=0)

    assert np.array_equal(matrix, before)
