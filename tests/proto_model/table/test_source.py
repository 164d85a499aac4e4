import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proto_model.errors import DataError
from proto_model.table import load_table


@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [
        ("breast_cancer", (569, 31), {"malignant", "benign"}),
        ("digits", (1797, 65), set(range(10))),
        ("iris", (150, 5), {"setosa", "versicolor", "virginica"}),
        ("wine", (178, 14), {"class_0", "class_1", "class_2"}),
    ],
)
def test_built_in_tables_have_their_labels_in_words(name, shape, labels):
    raw = load_table(name)

    assert raw.table.shape == shape
    assert set(raw.table["target"].to_pylist()) == labels
    assert raw.source == f"sklearn.datasets.load_{name}"


def test_a_parquet_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "people.data"
    pq.write_table(pa.table({" a ": [1.0, 2.0], "b": ["x", None]}), path)

    raw = load_table(str(path))

    assert raw.name == "people"
    assert raw.table.to_pydict() == {"a": [1.0, 2.0], "b": ["x", None]}


def test_a_csv_file_has_its_header_stripped_and_its_gaps_named(csv_file):
    raw = load_table(csv_file("a , b,\n1,2,3\n"))

    assert raw.table.column_names == ["a", "b", "column_3"]


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match=r"'cancer'\. Choose breast_cancer, digits, iris, wine, or the path"):
        load_table("cancer")


@pytest.mark.parametrize("dataset", ["nowhere/table.csv", "table.csv"])
def test_a_missing_file_is_an_error(dataset):
    with pytest.raises(DataError, match=f"No file at {dataset}"):
        load_table(dataset)


def test_a_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is not a file"):
        load_table(str(tmp_path))


def test_columns_of_one_name_in_a_parquet_file_are_named(tmp_path):
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 3, names=["a", "a", "y"]), path)

    with pytest.raises(DataError, match=r"twice\.parquet has more than one column named \['a'\]"):
        load_table(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "no rows"),
        ("a, a,b,b\n1,2,3,4\n", r"more than one column named \['a', 'b'\]"),
        ("PAR1 not really", "damaged Parquet"),
    ],
)
def test_a_file_that_is_no_table_is_an_error_that_names_it(csv_file, content, message):
    path = csv_file(content)

    with pytest.raises(DataError, match=message) as caught:
        load_table(path)
    assert path in str(caught.value)
