import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import DataError
from proto_model.table.columns import read_columns
from proto_model.table.split import row_hashes, split_digest
from proto_model.table.split import test_rows as rows_for_testing

ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-3, 3)),
        st.one_of(st.none(), st.floats(-2, 2)),
        st.one_of(st.none(), st.sampled_from(["a", "b", "true", "1"])),
        st.booleans(),
        st.sampled_from(["yes", "no", "perhaps"]),
    ),
    min_size=1,
    max_size=40,
)
NAMES = ("count", "size", "kind", "new", "class")
TYPES = (pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.string())


def hashes_of(rows, names=NAMES, types=TYPES):
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return row_hashes(read_columns(pa.table(dict(zip(names, arrays, strict=True)))))


def enough(rows):
    """The rows, and two different ones of each class, so that a split exists."""
    extra = [(n, 0.5, "a", True, label) for label in ("yes", "no", "perhaps") for n in (7, 8)]
    return [*rows, *extra]


@given(ROWS, st.permutations(range(len(NAMES))), st.randoms(use_true_random=False))
def test_a_row_keeps_its_hash_wherever_rows_and_columns_stand(rows, order, random):
    shuffled = random.sample(range(len(rows)), len(rows))
    moved = [tuple(rows[row][column] for column in order) for row in shuffled]

    hashes = hashes_of(moved, [NAMES[column] for column in order], [TYPES[column] for column in order])

    assert hashes.tolist() == hashes_of(rows)[shuffled].tolist()


@given(ROWS, ROWS)
def test_a_row_keeps_its_hash_when_rows_are_added(rows, more):
    assert hashes_of([*rows, *more])[: len(rows)].tolist() == hashes_of(rows).tolist()


@given(ROWS)
def test_rows_share_a_hash_when_and_only_when_they_are_equal(rows):
    hashes = hashes_of(rows)
    assert [a == b for a in rows for b in rows] == [bool(a == b) for a in hashes for b in hashes]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, 2, None]), pa.array([1.0, 2.0, None])),
        (pa.array([1, 2, None]), pa.array(["1", "2", None])),
        (pa.array([1.5]), pa.array(["1.50"])),
        (pa.array([0.0]), pa.array([-0.0])),
        (pa.array([True, False, None]), pa.array(["True", "FALSE", None])),
        (pa.array(["a", None]), pa.array([" a ", "?"])),
        (pa.array([2**63 - 1]), pa.array(["9223372036854775807"])),
    ],
)
def test_storage_does_not_change_the_hash(one, other):
    first, second = (row_hashes(read_columns(pa.table({"x": values}))) for values in (one, other))

    assert first.tolist() == second.tolist()


def test_a_cell_counts_under_its_own_column():
    ab, ba = (row_hashes(read_columns(pa.table({"a": [x], "b": [y]}))) for x, y in ((1, 2), (2, 1)))

    assert ab != ba


def test_the_hash_stays_the_same_from_release_to_release():
    hashes = hashes_of([(1, 0.5, "a", True, "yes"), (None, None, None, False, "no")])

    assert [f"{value:016x}" for value in hashes] == ["cb3a593e788fa670", "41f3ffabc22880f5"]


@given(ROWS, st.floats(0.01, 0.99))
def test_each_class_and_no_row_is_in_both_parts(rows, test_size):
    rows = enough(rows)
    y = np.array([row[-1] for row in rows], dtype=object)
    hashes = hashes_of(rows)

    is_test = rows_for_testing(hashes, y, test_size)

    assert set(y[is_test]) == set(y[~is_test]) == set(y)
    assert not set(hashes[is_test]) & set(hashes[~is_test])


@given(st.lists(st.integers(0, 2**64 - 1), min_size=20, max_size=60, unique=True), st.integers(0, 2**64 - 1))
def test_a_row_keeps_its_part_when_the_table_grows_unless_its_class_is_rare(hashes, new):
    before = np.array([0, 2**64 - 1, *hashes], dtype=np.uint64)
    after = np.append(before, np.uint64(new))

    parts = [rows_for_testing(some, np.zeros(len(some)), 0.3) for some in (before, after)]

    assert parts[0].tolist() == parts[1][:-1].tolist()


def test_a_larger_test_part_contains_the_smaller_and_both_have_their_share():
    hashes = row_hashes(read_columns(pa.table({"x": np.arange(20_000)})))
    y = np.arange(20_000) % 2

    small, large = (rows_for_testing(hashes, y, share) for share in (0.2, 0.5))

    assert not (small & ~large).any()
    assert small.mean() == pytest.approx(0.2, abs=0.015)
    assert large.mean() == pytest.approx(0.5, abs=0.015)


def test_a_class_left_out_of_a_part_gives_its_outermost_rows_with_their_duplicates():
    hashes = np.array([90, 80, 80, 10, 20, 20], dtype=np.uint64) << np.uint64(56)
    y = np.array([0, 0, 0, 1, 1, 1])

    is_test = rows_for_testing(hashes, y, 0.2)

    assert is_test.tolist() == [False, True, True, True, False, False]


def test_a_class_of_equal_rows_only_cannot_be_split():
    with pytest.raises(DataError, match="'b': its 2 rows are all the same"):
        rows_for_testing(
            np.array([1, 2**63, 5, 5], dtype=np.uint64), np.array(["a", "a", "b", "b"], dtype=object), 0.2
        )


@pytest.mark.parametrize("test_size", [0, 1, -0.1, 20, float("nan")])
def test_a_share_outside_0_and_1_is_refused(test_size):
    with pytest.raises(DataError, match="above 0 and below 1"):
        rows_for_testing(np.array([1, 2], dtype=np.uint64), np.array([0, 0]), test_size)


@given(
    st.lists(st.integers(0, 2**64 - 1)),
    st.lists(st.integers(0, 2**64 - 1)),
    st.randoms(use_true_random=False),
)
def test_digests_are_equal_when_and_only_when_the_rows_are(some, others, random):
    digest = split_digest(np.array(some, dtype=np.uint64))

    assert len(digest) == 16
    assert digest == split_digest(np.array(random.sample(some, len(some)), dtype=np.uint64))
    assert (digest == split_digest(np.array(others, dtype=np.uint64))) == (sorted(some) == sorted(others))
