from hypothesis import given
from hypothesis import strategies as st

from proto_model.column_lists import column_list, read_column_list

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1).map(str.strip).filter(bool)


@given(st.lists(NAMES, unique=True))
def test_names_survive_the_trip_through_a_parameter(names):
    assert list(read_column_list(column_list(names))) == names
