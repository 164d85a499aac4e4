import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import DataError
from proto_model.table.columns import read_columns
from proto_model.table.times import moments

DAY = 86_400.0


def moments_of(values):
    (column,) = read_columns(pa.table({"t": values}))
    return moments(column).tolist()


@pytest.mark.parametrize(
    ("texts", "days"),
    [
        (["1970-01-01", "1970-01-03"], [0, 2]),
        (["1970/1/1", "1970.01.03"], [0, 2]),
        (["1970-01-01 12:00:00", "1970-01-01T12:00Z", "1970-01-01 13:00:00 +01:00"], [0.5, 0.5, 0.5]),
        (["03.01.1970", "01.02.1970"], [2, 31]),
        (["3/1/1970", "13/1/1970"], [2, 12]),
        (["3/1/1970", "1/13/1970"], [59, 12]),
        (["1/13/1970 06:00", "1/1/1970 18:00"], [12.25, 0.75]),
    ],
)
def test_dates_are_read_as_people_write_them(texts, days):
    assert moments_of(texts) == [day * DAY for day in days]


def test_numbers_are_times_as_they_are():
    assert moments_of([2019, 2018]) == [2019, 2018]
    assert moments_of([0.5, -1.5]) == [0.5, -1.5]


@given(st.lists(st.datetimes(min_value=datetime.datetime(1700, 1, 1)), min_size=2, max_size=6))
def test_times_come_in_their_order_however_they_are_stored(times):
    stored = [pa.array(times, pa.timestamp("us")), [time.isoformat(sep=" ") for time in times]]
    expected = np.argsort(times, kind="stable").tolist()

    for values in stored:
        found = moments_of(values)
        assert np.argsort(found, kind="stable").tolist() == expected or len(set(found)) < len(set(times))


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["3/4/1970", "5/6/1970"], "read in two ways, as day or month may come first"),
        (["13/4/1970", "5/16/1970"], "in some the day comes first, in others the month"),
        (["1970-02-30", "1970-01-01"], "1 of its 2 distinct values is no date\\."),
        (["0000-01-01", "1970-01-01"], "1 of its 2 distinct values is no date"),
        (["1/2/70", "2/2/70"], "2 of its 2 distinct values are no dates"),
        ([datetime.time(10), datetime.time(11)], "2 of its 2 distinct values are no dates"),
        (["a", "b"], "neither dates nor numbers"),
    ],
)
def test_what_is_no_time_is_an_error(texts, complaint):
    with pytest.raises(DataError, match=complaint):
        moments_of(texts)
