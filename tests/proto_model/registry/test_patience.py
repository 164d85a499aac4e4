import logging

import pytest
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.registry.patience import patient

LOCKED = "(sqlite3.OperationalError) database is locked"


class Refusing:
    """A client whose first calls fail as MLflow's do, traceback in the log included."""

    uri = "sqlite:///here"

    def __init__(self, n, message=LOCKED):
        self.left, self.message = n, message

    def set_tag(self, key, *, value):
        if self.left:
            self.left -= 1
            logging.getLogger("mlflow.store.db.utils").error("SQLAlchemy database error.\n%s", self.message)
            raise MlflowException(self.message)
        return key, value


@pytest.mark.parametrize(
    "message",
    [
        LOCKED,
        "(sqlite3.IntegrityError) UNIQUE constraint failed: registered_model_tags.key",
        "deadlock detected",
    ],
)
def test_what_a_busy_database_refuses_is_tried_again_without_a_word(message, caplog):
    pauses = []
    client = patient(Refusing(3, message), pause=pauses.append)

    assert client.set_tag("a", value="b") == ("a", "b")
    assert len(pauses) == 3
    assert pauses[0] < pauses[2]
    assert caplog.text == ""


def test_a_database_that_stays_busy_is_an_error_in_a_sentence(caplog):
    with pytest.raises(
        RegistryError, match="MLflow's database is busy: it refused set_tag 6 times"
    ) as refused:
        patient(Refusing(99), pause=lambda seconds: None).set_tag("a", value="b")

    assert "sqlite3" not in str(refused.value)
    assert caplog.text == ""


def test_other_errors_are_passed_on_at_once():
    client = Refusing(1, "No such model.")
    with pytest.raises(MlflowException, match="No such model"):
        patient(client, pause=lambda seconds: pytest.fail("waited")).set_tag("a", value="b")


def test_patience_is_not_doubled_and_attributes_are_passed_on():
    client = patient(Refusing(0))

    assert patient(client) is client
    assert client.uri == "sqlite:///here"


@pytest.mark.parametrize(
    "message",
    [
        "(sqlite3.OperationalError) attempt to write a readonly database",
        "cannot execute INSERT in a read-only transaction",
    ],
)
def test_a_database_that_can_only_be_read_is_told_at_once(message, caplog):
    client = patient(Refusing(1, message), pause=lambda seconds: pytest.fail("waited"))
    with pytest.raises(RegistryError, match="can only be read here, so set_tag changed nothing"):
        client.set_tag("a", value="b")
    assert caplog.text == ""
