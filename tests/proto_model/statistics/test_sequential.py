import json

import numpy as np
import pytest

from proto_model.statistics import Attempts, share_of_attempt


def test_the_parts_of_all_attempts_are_at_most_the_whole():
    parts = [share_of_attempt(number) for number in range(1, 20_000)]

    assert sum(parts) < 1
    assert all(np.diff(parts) < 0)


def test_the_same_challenger_on_the_same_rows_is_no_new_attempt():
    attempts = Attempts("1").record("2 on a").record("3 on a")

    assert attempts.record("2 on a") == attempts
    assert attempts.share_of("2 on a") == share_of_attempt(1)
    assert attempts.share_of("2 on b") == share_of_attempt(3)


def test_a_state_survives_a_tag_of_mlflow_and_stays_small_for_years():
    attempts = Attempts("17")
    for night in range(1000):
        attempts = attempts.record(f"version {night}")

    text = json.dumps(attempts.to_dict())

    assert len(text) < 5000
    assert Attempts.of("17", json.loads(text)) == attempts
    assert attempts.number_of("another") == 1001
    assert attempts.number_of("version 999") == 1000


@pytest.mark.parametrize("stored", [None, "x", {}, {"champion": "1"}, {"champion": "1", "known": [3]}])
def test_what_is_no_state_of_this_champion_starts_anew(stored):
    assert Attempts.of("1", stored) == Attempts("1")
    assert Attempts.of("2", Attempts("1").record("a").to_dict()) == Attempts("2")


def test_attempts_are_counted_from_one():
    with pytest.raises(ValueError, match="1 or more expected"):
        share_of_attempt(0)
