from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.dates import FIRST, LAST, seconds_in, seconds_in_array, seconds_of
from proto_model.schema import date_text

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=OFFSETS))
def test_any_moment_has_its_seconds_however_it_is_given(moment):
    seconds = (moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)

    assert seconds_in(moment.isoformat()) == seconds
    assert seconds_in(moment.isoformat(" ").replace("+", " +")) in (seconds, None)
    assert seconds_of(moment) == seconds
    assert seconds_of(np.datetime64(moment.astimezone(UTC).replace(tzinfo=None))) == seconds
    assert seconds_in(date_text(seconds, "datetime")) == seconds


@given(st.dates())
def test_a_day_is_its_midnight(day):
    assert seconds_in(day.isoformat()) == seconds_of(day) == seconds_in(f"{day}T00:00:00Z")
    assert date_text(seconds_of(day) / 86_400, "date") == day.isoformat()


def test_the_first_and_the_last_second_are_dates():
    assert seconds_in("0001-01-01") == FIRST == seconds_of(date.min)
    assert seconds_in("9999-12-31T23:59:59Z") == LAST == seconds_of(datetime.max)


@pytest.mark.parametrize(
    "value", [None, pd.NaT, np.datetime64("NaT"), 5, "2024-03-01", np.datetime64(10**6, "Y")]
)
def test_what_is_no_date_object_has_no_seconds(value):
    assert seconds_of(value) is None


def test_fractions_of_a_second_do_not_count_before_1970_either():
    texts = ["1969-12-31T23:59:59.5", "1970-01-01T00:00:00.5"]

    assert [seconds_in(text) for text in texts] == [-1, 0]
    assert seconds_in_array(np.array(texts, dtype="datetime64[ms]")).tolist() == [-1, 0]
    assert [seconds_of(pd.Timestamp(text)) for text in texts] == [-1, 0]


def test_an_offset_that_ends_with_a_colon_is_no_offset():
    assert seconds_in("2024-02-29T10:11+02:") is None
    assert seconds_in("2024-02-29T10:11+02") == seconds_in("2024-02-29T10:11+02:00")
