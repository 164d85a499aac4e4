import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.registry.catalog.tombstones import Tombstone, tombstones_of
from proto_model.registry.tag_values import MAX_TAG_CHARACTERS

FULL = Tombstone(
    version="7",
    at="2026-10-31T12:00:00+00:00",
    by="ada",
    reason="too old",
    run_id="abc",
    model_id="m-1",
    digest="d" * 64,
    variant="extra_trees",
    description="A forest.",
    labels=("eu", "q3"),
    aliases=("champion",),
    created="2026-10-30T12:00:00+00:00",
    published_at="2026-10-30T13:00:00+00:00",
    explainers=("3",),
    events=(("2026-10-30T12:00:00+00:00", "edited", "ada", "labels +q3"),),
)


@pytest.mark.parametrize("stone", [FULL, Tombstone("7", "2026-10-31T12:00:00+00:00", "ada")])
def test_a_tombstone_survives_the_trip_through_its_tag(stone):
    assert tombstones_of({stone.key: stone.to_tag()}, ()) == {"7": stone}


def test_as_long_as_there_is_the_version_its_tombstone_says_nothing():
    assert tombstones_of({FULL.key: FULL.to_tag()}, {"7"}) == {}


@given(st.text(), st.text(), st.lists(st.text(max_size=300), max_size=60))
def test_a_tombstone_fits_into_a_tag_and_keeps_the_newest_events(reason, description, whats):
    events = tuple((f"{n}", "edited", "ada", what) for n, what in enumerate(whats))
    stone = Tombstone("7", "now", "ada", 60 * reason, description=60 * description, events=events)

    text = stone.to_tag()

    assert len(text) <= MAX_TAG_CHARACTERS
    kept = Tombstone.from_tag("7", text).events
    assert [event[0] for event in kept] == [event[0] for event in events][len(events) - len(kept) :]


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"events": 3}', '{"labels": 3}', "null"])
def test_of_a_damaged_tombstone_the_number_is_left(text):
    assert tombstones_of({"deleted.7": text, "deleted.x": "{}"}, ()) == {"7": Tombstone("7", at="", by="")}
