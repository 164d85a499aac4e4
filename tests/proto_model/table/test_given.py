import pyarrow as pa
import pytest

from proto_model.errors import DataError
from proto_model.table.given import given_frames


def test_a_table_of_another_library_is_told_how_to_become_a_data_frame():
    table = pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]})

    with pytest.raises(DataError, match=r"X is a Table, .* Give X\.to_pandas\(\), as the pipeline got it"):
        given_frames(table, table)
    assert list(given_frames(table.to_pandas(), table.to_pandas())[0].columns) == ["a", "b"]
