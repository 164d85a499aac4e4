import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.deployment.plugin.errors import DeploymentError, DeploymentInputError, NoDeploymentError
from proto_model.deployment.plugin.records import Process, Record, Records

PROCESSES = st.none() | st.builds(Process, st.integers(1), st.text(), st.integers(1, 65535))


def record(name="churn", **given):
    return Record(name, "process", "models:/a/1", "1", "2026-01-01", {"port": "0"}, **given)


@pytest.fixture
def records(tmp_path):
    return Records({"PROTO_MODEL_DEPLOYMENTS": str(tmp_path / "state")})


@given(process=PROCESSES, further=PROCESSES, result=st.dictionaries(st.text(), st.text()))
def test_a_record_survives_the_trip_through_its_file(tmp_path_factory, process, further, result):
    records = Records({"PROTO_MODEL_DEPLOYMENTS": str(tmp_path_factory.getbasetemp())})
    written = record(process=process, further=further, result=result)

    records.write(written)
    assert records.get("churn") == written


def test_only_the_user_reads_records_and_names_are_kept_apart(records):
    with records.locked("a"), records.locked("b"):
        records.write(record("b"))
        records.write(record("a"))

    assert [one.name for one in records.all()] == ["a", "b"]
    assert records.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in records.folder.iterdir()} == {0o600}
    records.remove("a")
    with pytest.raises(NoDeploymentError, match="There are: b"):
        records.get("a")


def test_a_name_is_locked_until_the_command_has_ended(records):
    with records.locked("a"), pytest.raises(DeploymentError, match="Another command"), records.locked("a"):
        pass
    with records.locked("a"):
        pass


@pytest.mark.parametrize("name", ["", ".", "../a", "a/b", "-a", "a b", "a" * 64])
def test_a_name_is_no_path(records, name):
    with pytest.raises(DeploymentInputError, match="no name"), records.locked(name):
        pass
    assert records.find(name) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"process": None, "further": {"pid": 1}})])
def test_a_damaged_record_is_told(records, text):
    records.folder.mkdir()
    (records.folder / "a.json").write_text(text)

    with pytest.raises(DeploymentError, match="cannot be read"):
        records.find("a")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(DeploymentError, match="Set PROTO_MODEL_DEPLOYMENTS"),
        Records({"PROTO_MODEL_DEPLOYMENTS": str(tmp_path / "file" / "x")}).locked("a"),
    ):
        pass


def test_records_are_where_programs_keep_such():
    assert Records({"XDG_STATE_HOME": "/state"}).folder == Path("/state/proto_model/deployments")
    assert Records({}).folder == Path.home() / ".local" / "state" / "proto_model" / "deployments"


def test_what_mlserver_needed_goes_with_the_deployment(records):
    for name in ("a", "b"):
        (records.folder / f"{name}.mlserver" / ".mlserver").mkdir(parents=True)

    records.remove("a")

    assert not (records.folder / "a.mlserver").exists()
    assert records.build("b").is_dir()
