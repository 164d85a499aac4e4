import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.column_lists import column_list, read_column_list

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1).map(str.strip).filter(bool)


@given(st.lists(NAMES, unique=True))
def test_names_survive_the_trip_through_a_parameter(names):
    assert list(read_column_list(column_list(names))) == names


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a" * 200_000], ids=["return", "line", "long"])
def test_what_is_no_list_of_names_is_refused_with_what_is_expected(text):
    with pytest.raises(ValueError, match="names of columns between commas"):
        read_column_list(text)
