import pytest

from mapper.errors import ModelServerDownError, RefusedByModelError
from mapper.model_server.answer import clean_message, read_answer


@pytest.mark.parametrize("retry_after", [None, "", "Wed, 21 Oct 2026", "-5", "0", "99999999"])
def test_retry_after_is_always_a_sensible_number(retry_after):
    with pytest.raises(ModelServerDownError) as caught:
        read_answer(503, retry_after, b"")

    assert 1 <= caught.value.retry_after_s <= 3600


def test_messages_are_cut_and_cleaned():
    assert clean_message("Failed to predict data '5'.") == "no reason given"
    assert len(clean_message("x" * 9000)) == 2001
    with pytest.raises(RefusedByModelError, match="bad row"):
        read_answer(422, None, b'{"detail": "bad row"}')
