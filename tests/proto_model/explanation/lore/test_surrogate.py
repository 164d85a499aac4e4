import numpy as np

from proto_model.explanation.background import Background
from proto_model.explanation.lore.neighborhood import Bins
from proto_model.explanation.lore.surrogate import Surrogate
from proto_model.schema import Feature, ModelSchema


def test_it_learns_what_a_tree_can_say(schema, rows):
    bins = Bins.of(Background.from_matrix(schema, rows))
    positions = bins(rows).astype(np.int32)
    owner, old = rows[:, 2] == 1, rows[:, 4] > 60
    truth = (owner & old).astype(np.int64)

    surrogate = Surrogate.fit(positions, np.eye(2)[truth], np.ones(len(rows)), bins)

    assert (surrogate.predict(positions) == truth).mean() > 0.97


def test_a_path_leads_to_the_row_s_leaf(schema, rows, model):
    bins = Bins.of(Background.from_matrix(schema, rows))
    positions = bins(rows).astype(np.int32)
    surrogate = Surrogate.fit(positions, model(rows), np.ones(len(rows)), bins)

    for position, leaf in zip(positions[:50], surrogate.leaves(positions[:50]), strict=True):
        path = surrogate.path(position)
        inside = np.all([(positions[:, j] > t) == above for j, t, above in path], axis=0)
        assert (surrogate.leaves(positions[inside]) == leaf).all()
        assert len({(j, t) for j, t, _ in path}) == len(path)


def test_bins_keep_the_order_of_numbers_and_put_missing_last(schema, rows):
    bins = Bins.of(Background.from_matrix(schema, rows))
    column = np.array([-5.0, 0.0, 50.0, 100.0, 1e9, np.nan])
    X = np.column_stack([column, *np.zeros((4, 6))])

    codes = bins(X)[:, 0]

    assert (np.diff(codes) >= 0).all()
    assert codes[-1] == bins.last[0]
    assert (bins.coarse[codes][:-1] < bins.coarse[bins.last[0]]).all()


def test_one_number_beside_many_truth_values_is_told_apart():
    """The place of a leaf's feature, which is none, lay beyond the bins: no explanation could be made."""
    number = Feature("x", "double", False, minimum=0.0, maximum=1.0, median=0.5)
    flags = [Feature(f"b{j}", "boolean", False, minimum=0.0, maximum=1.0, median=0.0) for j in range(9)]
    schema = ModelSchema("m", "y", "string", ("no", "yes"), (number, *flags))
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.random(400), rng.integers(0, 2, (400, 9))])
    bins = Bins.of(Background.from_matrix(schema, rows))
    positions, truth = bins(rows).astype(np.int32), (rows[:, 0] > 0.5).astype(np.int64)

    surrogate = Surrogate.fit(positions, np.eye(2)[truth], np.ones(len(rows)), bins)

    assert (surrogate.predict(positions) == truth).mean() > 0.95
