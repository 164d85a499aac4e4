import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapper.mapping.dictionary import CONTROLS as MAPPERS_CONTROLS
from proto_model.dictionary import CONTROLS, NO_ENTRY, Entry

PLAIN = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5)
ENTRIES = st.builds(
    Entry,
    description=PLAIN,
    unit=PLAIN,
    decode=st.dictionaries(PLAIN, PLAIN, max_size=5).map(lambda words: tuple(words.items())),
    author=PLAIN,
    protected=st.booleans(),
)


@given(ENTRIES)
def test_an_entry_survives_the_trip_through_json(entry):
    assert Entry.from_dict(entry.to_dict()) == entry


@given(ENTRIES)
def test_no_two_stored_values_are_called_the_same(entry):
    assert len(set(entry.words.values())) == len(entry.decode)


def test_what_is_absent_is_not_written():
    assert NO_ENTRY.to_dict() == {}
    assert Entry(unit="mm").to_dict() == {"unit": "mm"}


@pytest.mark.parametrize("sign", "\x00\x1b\x7f\x9b\u2028\u202e\u2066\ufeff\n\t")
def test_signs_that_move_a_cursor_or_turn_a_line_are_controls(sign):
    assert CONTROLS.search(sign)


def test_both_sides_have_the_same_controls_and_letters_of_the_world_are_none():
    assert CONTROLS.pattern == MAPPERS_CONTROLS.pattern
    assert not CONTROLS.search("µm² größer ≥ 5 °C · 年齢 · نص · क्‍ष · 👩‍🔬 \u00a0\u202f")
