import os
import sys
from pathlib import Path

import pytest

from proto_model.cli import mlserver, serve
from proto_model.deployment.plugin.config import OPTIONS, PROCESS, read_config
from proto_model.deployment.plugin.servers import chosen_port, command_of, environment_of, url_of
from proto_model.errors import ProtoModelError
from tests.ports import free_ports

VALUES = {
    "server": "lean", "token_file": "/t/tokens", "allowed_hosts": "a.example", "access_log": "true",
    "host": "127.0.0.1", "follow": "2.5", "require_published": "true", "verify_key": "/t/a.pem",
}  # fmt: skip


def test_serve_takes_every_option_of_a_deployment():
    given = {name: VALUES.get(name, "7") for name in OPTIONS[PROCESS]}
    command = command_of("models:/a@champion", read_config(PROCESS, given, {}), 5005, Path("build"))

    assert command[1:4] == ["-m", "proto_model", "serve"]
    read = vars(serve.build_parser().parse_args(command[4:]))
    assert (read["model_uri"], read["port"]) == (["models:/a@champion"], 5005)
    expected = {
        name: {
            **{"allowed_hosts": ("a.example",), "access_log": True, "follow": 2.5},
            **{"require_published": True, "verify_key": ["/t/a.pem"]},
        }.get(name, VALUES.get(name, 7))
        for name, option in OPTIONS[PROCESS].items()
        if option.is_server
    }
    assert {name: read[name] for name in expected} == expected


def test_mlserver_is_configured_in_a_folder_of_the_deployment():
    command = command_of("models:/a/1", {"server": "mlserver"}, 5005, Path("build"))

    read = mlserver.build_parser().parse_args(command[4:])
    assert (read.model_uri, read.build, read.port, read.serve) == ("models:/a/1", Path("build"), 5005, True)


def test_both_servers_of_this_project_are_asked_for_published_versions(tmp_path):
    keys = os.pathsep.join(["/t/a.pem", "b.pem"])
    given = {"server": "mlserver", "require_published": "yes", "verify_key": keys}
    command = command_of("models:/a/1", read_config(PROCESS, given, {}), 5005, Path("build"))

    read = mlserver.build_parser().parse_args(command[4:])
    assert (read.require_published, read.verify_key) == (True, ["/t/a.pem", str(Path("b.pem").absolute())])


def test_an_option_is_taken_back_by_an_empty_value():
    before = {"port": "0", "follow": "10"}

    assert read_config(PROCESS, {"follow": "", "max_rows": 3}, before) == {"port": "0", "max_rows": "3"}
    assert read_config(PROCESS, {"access_log": "no"}, before) == before


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("::1", "http://[::1]:1"), ("a.b", "http://a.b:1")],
)  # fmt: skip
def test_a_server_is_asked_where_it_listens(host, url):
    assert url_of({"host": host}, 1) == url


def test_a_port_that_is_not_to_be_had_is_told():
    (port,) = free_ports(1)

    assert chosen_port({"port": str(port)}) == port
    assert chosen_port({"port": "0"}) > 0
    with pytest.raises(ProtoModelError, match=r"Cannot listen on 192\.0\.2\.1:0: "):
        chosen_port({"port": "0", "host": "192.0.2.1"})


def test_programs_are_found_beside_python_where_nobody_activated_the_environment(monkeypatch):
    monkeypatch.delenv("PATH")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")

    found = environment_of()
    assert found["MLFLOW_TRACKING_URI"] == "sqlite:///elsewhere.db"
    assert found["PATH"].startswith(str(Path(sys.executable).parent))
