"""Events: tags of their own, on a real registry."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.registry import events
from proto_model.registry.events import Event, event_tag, events_of, write_event
from proto_model.registry.tag_values import MAX_TAG_CHARACTERS

NOON = datetime(2026, 10, 31, 12, 0, 0, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def ada(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")


def test_what_is_written_at_a_version_is_read_back_oldest_first(client, model):
    write_event(client, model, "2", "edited", "labels +q3")
    write_event(client, model, "2", "deployed", "to staging: people@sha256:1")

    events = events_of(client.get_model_version(model, "2").tags)
    assert [(event.kind, event.by, event.what) for event in events] == [
        ("edited", "ada", "labels +q3"),
        ("deployed", "ada", "to staging: people@sha256:1"),
    ]
    assert timedelta() <= datetime.now(UTC) - events[0].at < timedelta(minutes=10)


def test_two_events_of_one_kind_in_the_same_microsecond_are_two():
    tags = dict(event_tag("edited", what, at=NOON) for what in ("a", "b", "c", "d"))
    assert {event.what for event in events_of(tags)} == {"a", "b", "c", "d"}


@given(st.text(), st.text(), st.one_of(st.none(), st.from_regex(r"[0-9a-f]{32}", fullmatch=True)))
def test_every_event_fits_into_a_tag_and_comes_back(what, by, run_id):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "current_user", lambda: by)
        key, value = event_tag("edited", what, at=NOON, run_id=run_id)

    assert len(value.encode("utf-16-le", "surrogatepass")) // 2 <= 2 * MAX_TAG_CHARACTERS
    assert len(value) <= MAX_TAG_CHARACTERS
    assert events_of({key: value}) == [Event(NOON, "edited", by[:200], what, run_id)]


def test_long_texts_are_cut():
    ((_, value),) = [event_tag("edited", "x" * 99_999, at=NOON)]
    assert len(value) <= MAX_TAG_CHARACTERS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("event.20261031T120000.000005Z-ab12.edited", "no JSON"),
        ("event.20261031T120000.000005Z-ab12.edited", "[1]"),
        ("event.20261331T120000.000005Z-ab12.edited", "{}"),
        ("event.yesterday.edited", "{}"),
        ("events", "{}"),
    ],
)
def test_tags_that_are_no_events_are_left_out(key, value):
    assert events_of({key: value}) == []


def test_a_user_without_a_name_is_unknown(monkeypatch):
    def nobody():
        raise OSError("no such user")

    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setattr(events.getpass, "getuser", nobody)
    assert events.current_user() == "unknown"
