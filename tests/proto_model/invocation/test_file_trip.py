import re

import pytest

from proto_model.invocation.file_trip import check
from proto_model.invocation.http import InvocationError

SENT = [{"row": "0", "a": "1"}, {"row": "1", "a": "2"}]
GOOD = [
    {"row": "0", "prediction": "x", "probability": "0.6", "probability_x": "0.6", "probability_y": "0.4"},
    {"row": "1", "prediction": "y", "probability": "0.9", "probability_x": "0.1", "probability_y": "0.9"},
]


def test_rows_that_came_back_as_they_were_sent_are_right():
    check(SENT, GOOD, "row", {"rows": 2})


@pytest.mark.parametrize(
    ("came", "n_rows", "words"),
    [
        (GOOD[:1], 2, "2 rows were sent, 1 came back, and the answer says 2."),
        (GOOD, 3, "2 rows were sent, 2 came back, and the answer says 3."),
        (GOOD[::-1], 2, "Row 0 came back with row '1' instead of '0'."),
        ([GOOD[0], {**GOOD[1], "prediction": ""}], 2, "Row 1 came back without a prediction."),
        ([GOOD[0], {**GOOD[1], "probability_x": "0.2"}], 2, "The probabilities of row 1 add up to 1.1"),
    ],
)
def test_rows_that_came_back_otherwise_are_an_error(came, n_rows, words):
    with pytest.raises(InvocationError, match=re.escape(words)):
        check(SENT, came, "row", {"rows": n_rows})
