import io

import pytest

from proto_model.errors import DataError
from proto_model.table.csv_table import read_csv


def read(text: str | bytes) -> dict[str, tuple[str, list[object]]]:
    """Type and cells of each column."""
    table = read_csv(io.BytesIO(text.encode() if isinstance(text, str) else text), "table.csv")
    return {
        name: (str(column.type), column.to_pylist())
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def test_spaces_and_missing_markers_do_not_hide_the_type():
    columns = read("age, pay, job , member\n 39, 1.5, clerk, True\n ?, 2, ?, false\n 50, NA, pilot , ?\n")

    assert columns == {
        "age": ("int64", [39, None, 50]),
        "pay": ("double", [1.5, 2.0, None]),
        "job ": ("large_string", ["clerk", None, "pilot"]),
        "member": ("bool", [True, False, None]),
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_tells_the_delimiter(delimiter):
    assert read(f"a{delimiter}b\n1{delimiter}x\n") == {"a": ("int64", [1]), "b": ("large_string", ["x"])}


def test_quoted_cells_may_hold_delimiters_and_line_breaks():
    assert read('"a, b",c\n"x, y","1\n2"\n') == {
        "a, b": ("large_string", ["x, y"]),
        "c": ("large_string", ["1\n2"]),
    }


def test_spaces_before_a_quote_do_not_end_a_cell_at_the_comma_in_it():
    assert read('a, b, c\n1, "x, y", "u"\n\n2, "say ""hi""", "v\nw"\n') == {
        "a": ("int64", [1, 2]),
        "b": ("large_string", ["x, y", 'say "hi"']),
        "c": ("large_string", ["u", "v\nw"]),
    }
    assert read(f'a, b\n"{"late " * 50_000}", "x"\n')["a"] == ("large_string", ["late " * 49_999 + "late"])
    with pytest.raises(DataError, match=r"not a CSV with 2 columns throughout: 3 in '1,x,2'"):
        read('a, b\n1, "x", 2\n')


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_header_may_hold_line_breaks_and_other_delimiters(end):
    text = f'{end}"a{end}b";"c, d, e"{end}1;x{end}'
    assert list(read(text).values()) == [("int64", [1]), ("large_string", ["x"])]


def test_numbers_that_start_with_a_zero_stay_text():
    assert read("zip,rate\n01234,0.5\n90210,-0.25\n") == {
        "zip": ("large_string", ["01234", "90210"]),
        "rate": ("double", [0.5, -0.25]),
    }


def test_a_column_without_a_value_has_no_type():
    assert read("a,b\n1,\n2,?\n")["b"] == ("null", [None, None])


def test_whole_numbers_beyond_64_bits_are_read_as_double():
    assert read("a\n1\n99999999999999999999\n")["a"] == ("double", [1.0, 1e20])


def test_a_byte_order_mark_and_blank_lines_are_passed_over():
    assert read(b"\xef\xbb\xbf\n\na,b\r\n1,2\r\n\r\n3,4\r\n") == {
        "a": ("int64", [1, 3]),
        "b": ("int64", [2, 4]),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a,b", "has a header but no rows"),
        (b"a,b\n1,2\n1,2,3\n", "not a CSV with 2 columns throughout.*Expected 2 columns, got 3"),
        (b"\x00\x01\x02", "binary data"),
        (b"a,b\n\xff\xfe,1\n", "not UTF-8"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\n <html></html>", "web page"),
    ],
)
def test_what_is_no_table_is_an_error(content, message):
    with pytest.raises(DataError, match=message):
        read(content)
