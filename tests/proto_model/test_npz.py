import zipfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from proto_model.errors import ArtifactError
from proto_model.npz import read_arrays, whole_number


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "a.npz", rows=np.arange(6.0).reshape(2, 3), n=np.int64(5))
    return tmp_path / "a.npz"


def refused(path, reason, **options):
    with pytest.raises(ArtifactError, match=reason):
        read_arrays(path, "a table", ["rows"], **options)


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_arrays_are_read_by_name_and_others_left_alone(path):
    found = read_arrays(path, "a table", ["rows"], ["more"])

    assert list(found) == ["rows"]
    assert_array_equal(found["rows"], np.arange(6.0).reshape(2, 3))


def test_an_array_that_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", n=np.int64(5))
    refused(tmp_path / "a.npz", "cannot be read as a table: it has no rows")


def test_a_name_that_stands_twice_is_refused(path):
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("rows.npy", archive.read("rows.npy"))
    refused(path, "same name")


def test_what_would_unpack_to_more_than_it_may_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, rows=np.zeros(10_000_000))

    assert path.stat().st_size < 100_000
    refused(path, "would unpack to 80,000,128 bytes")
    refused(path, "would unpack to 80,000,128 bytes", most_unpacked=80_000_000)
    assert len(read_arrays(path, "a table", ["rows"], most_unpacked=81_000_000)["rows"]) == 10_000_000


def test_a_packing_that_nothing_here_writes_is_refused(path):
    content = members(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("rows.npy", content["rows.npy"])
    refused(path, "packed in a way", most_unpacked=10**6)


@pytest.mark.parametrize("shape", [b"(9000000, 9000000), }", b"(1, 3), }"])
def test_a_shape_that_the_bytes_do_not_fill_is_refused(path, shape):
    content = members(path)["rows.npy"]
    header = content[10:127].replace(b"(2, 3), }", shape).rstrip().ljust(117)
    changed = content[:10] + header + content[127:]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.npy", changed)
    refused(path, "which its bytes do not fill")


def test_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", rows=np.array([{"a": 1}], dtype=object))
    refused(tmp_path / "a.npz", "cannot be read as a table")


@pytest.mark.parametrize(
    ("array", "number"),
    [
        (np.int64(5), 5),
        (np.uint64(2**64 - 1), None),
        (np.int64(-1), None),
        (np.float64(5), None),
        (np.array([5]), None),
        (np.array("5"), None),
    ],
)
def test_a_whole_number_is_one_within_its_bounds(array, number):
    assert whole_number(np.asarray(array), 0, 100) == number
