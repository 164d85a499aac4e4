"""The store that a user starts to try file jobs out."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from scripts.object_store import ObjectStore, main
from tests.ports import free_port

pytestmark = pytest.mark.system

SCRIPT = Path(__file__).parents[2] / "scripts" / "object_store.py"


def test_the_store_runs_signs_and_says_how_to_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(free_port())
    command = [sys.executable, str(SCRIPT), "serve", "--folder", str(tmp_path), "--port", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as store:
        try:
            assert store.stdout is not None
            assert f"Store at http://127.0.0.1:{port}" in store.stdout.readline()
            _, command_line = store.stdout.readline(), store.stdout.readline()
            assert command_line == f'  eval "$(python scripts/object_store.py env --folder {tmp_path})"\n'

            assert main(["env", "--folder", str(tmp_path)]) == 0
            variables = capsys.readouterr().out.splitlines()
            assert f"export AWS_ENDPOINT_URL=http://127.0.0.1:{port}" in variables
            assert f"export PROTO_MODEL_FILES_ALLOWED_HOSTS=127.0.0.1:{port}" in variables

            assert main(["presign", "--folder", str(tmp_path), "in.csv", "out.csv"]) == 0
            [record] = json.loads(capsys.readouterr().out)["dataframe_records"]
            (tmp_path / "files" / "in.csv").write_text("a\n1\n")
            with urllib.request.urlopen(record["input_url"]) as answer:
                assert answer.read() == b"a\n1\n"
        finally:
            store.terminate()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(record["input_url"])


@pytest.mark.parametrize("command", [["presign", "in.csv", "out.csv"], ["env"]])
def test_using_a_store_needs_one_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with ObjectStore.running(tmp_path):
        assert main([*command, "--folder", str(tmp_path)]) == 0

    assert main([*command, "--folder", str(tmp_path)]) == 1
    assert "Start one with `serve`" in capsys.readouterr().err


def test_only_what_is_signed_is_served(tmp_path: Path) -> None:
    with ObjectStore.running(tmp_path) as store:
        store.path("k").write_text("x")
        urls = [
            f"{store.endpoint}/files/k",
            store.presign("get_object", "k")[:-1] + "!",
            store.presign("put_object", "k"),
            store.presign("get_object", "k").replace("/k?", "/other?"),
        ]
        for url in urls:
            with pytest.raises(urllib.error.HTTPError, match=r"40[03]"):
                urllib.request.urlopen(url).close()
        with urllib.request.urlopen(store.presign("get_object", "k")) as answer:
            assert answer.read() == b"x"


def test_a_port_where_another_program_listens_is_refused_before_anything_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["serve", "--folder", str(tmp_path / "store"), "--port", port]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert f"error: Cannot listen on 127.0.0.1:{port}: the address is in use." in said.err
    assert not (tmp_path / "store").exists()
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "99999"])
    assert ended.value.code == 2
