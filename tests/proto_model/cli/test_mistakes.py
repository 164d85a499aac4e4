"""What people type by mistake: the exit code, and the sentence that says what is wrong and what to do."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from mapper.cli.main import main as mapper
from proto_model.cli.main import main as proto_model
from proto_model.registry.versions import register_version
from tests.proto_model.conftest import Logged

PROGRAMS = {"proto_model": proto_model, "mapper": mapper}
NOBODY = "http://127.0.0.1:9"
"""Where nothing listens."""

# What is typed after `python -m`, the exit code, and a part of the sentence.
PARSED = [
    ("proto_model", 2, "Give a command:"),
    ("proto_model trian", 2, "Did you mean train?"),
    ("proto_model train --datset people.csv", 2, "there is no option --datset. Did you mean --dataset?"),
    ("proto_model train people.csv", 2, "'people.csv' is one argument too many"),
    ("proto_model train --test-size 2", 2, "--test-size: '2' given, a number above 0 and below 1 expected"),
    ("proto_model train --metric logloss", 2, "--metric: 'logloss' given, one of log_loss, "),
    ("proto_model train --registered-model-name a@b", 2, "without '/', ':' and '@' expected"),
    ("proto_model compare --margin abc", 2, "--margin: 'abc' given, a number expected"),
    ("proto_model compare --rollback --margin 0.1", 2, "leave out --margin"),
    ("proto_model serve -p 99999", 2, "-p/--port: '99999' given, a port from 0 to 65535 expected"),
    ("proto_model source serve m.py --port 99999", 2, "'99999' given, a port from 0 to 65535 expected"),
    ("proto_model serve --health-port 99999", 2, "a port from 0 to 65535 expected"),
    ("proto_model serve -p", 2, "-p/--port needs a value"),
    ("proto_model serve --workers 0", 2, "--workers: '0' given, a whole number from 1 expected"),
    ("proto_model serve --follow 10 -m people.csv", 2, "no model is named by an alias"),
    (
        "proto_model source run m.py --timeout inf",
        2,
        "--timeout: 'inf' given, a number above 0 and up to 1,000",
    ),
    (
        "proto_model job run job.json --timeout nan",
        2,
        "--timeout: 'nan' given, a number above 0",
    ),
    ("proto_model source run m.py --cpu 0", 2, "--cpu: '0' given, a number above 0"),
    ("proto_model source serve m.py --memory 0.5", 2, "--memory: '0.5' given, a whole number above 0 and"),
    (
        "proto_model job run job.json --output-size 1e9",
        2,
        "--output-size: '1e9' given, a whole number above 0",
    ),
    ("proto_model mlserver --serve -p abc", 2, "'abc' given, a port from 0 to 65535 expected"),
    ("proto_model versions", 2, "action is missing"),
    ("proto_model versions lst", 2, "action: there is no 'lst'. Did you mean list?"),
    ("proto_model versions list --al", 2, "there is no option --al. Did you mean --all?"),
    ("proto_model versions prune --keep 0", 2, "--keep: '0' given, a whole number from 1 expected"),
    ("proto_model access grant rita WRITE", 2, "RIGHT: there is no 'WRITE'"),
    ("proto_model keys", 2, "--out is missing"),
    ("proto_model image", 2, "give one of --out FILE and --context DIR"),
    ("proto_model image --out a --server nginx", 2, "There are: lean, mlserver, mlflow, mapper"),
    ("proto_model package --out p.zip", 2, "Add --zip"),
    ("proto_model release --registry x", 2, "set DEPLOYMENT_ENV"),
    ("proto_model invoke --data a --model-uri b", 2, "--model-uri and --data do not go together"),
    ("mapper", 2, "give a command:"),
    ("mapper prdict", 2, "command: there is no 'prdict'. Did you mean predict?"),
    ("mapper serve --prot 1", 2, "there is no option --prot. Did you mean --port?"),
    ("mapper serve --port abc", 2, "--port: 'abc' given, a whole number expected"),
    ("mapper predict --timeout-s abc a=1", 2, "'abc' given, a number of seconds above 0 expected"),
    ("mapper tango deployment", 2, "--key is missing"),
]

FILES = [
    ("proto_model train --dataset nosuch.csv", 2, "No file nosuch.csv in "),
    ("proto_model train --dataset nosuch", 2, "Unknown data set 'nosuch'. Choose breast_cancer, "),
    (
        "proto_model train --dataset people.csv --target clas",
        2,
        "has no column 'clas' to predict. Did you mean 'class'?",
    ),
    (
        "proto_model train --dataset people.csv --drop agee",
        2,
        "no column 'agee' to drop. Did you mean 'age'?",
    ),
    ("proto_model train --dataset .", 2, "Give the path of one CSV or Parquet file."),
    ("proto_model train --dataset s3://b/x.csv", 2, "Download the file and give its path."),
    (f"proto_model train --dataset {NOBODY}/x.csv", 2, f"No answer from {NOBODY}/x.csv"),
    ("proto_model train --dataset text.parquet", 2, "is named as a Parquet file, and holds something else"),
    ("proto_model train --dataset five.csv", 2, "five has 5 rows with a class: "),
    ("proto_model train --dataset sheet.xlsx", 2, "is neither CSV nor Parquet"),
    ("proto_model score --input nosuch.csv --output o.csv", 2, "No file nosuch.csv in "),
    (
        "proto_model score --input people.csv --output o.xlsx",
        2,
        "No format has names such as o.xlsx. End it in",
    ),
    ("proto_model score --input people.csv --output no/o.csv", 2, "Cannot write "),
    ("proto_model score --input people.csv --output o.csv --passthrough zip --model {version}", 2, "'zip'"),
    ("proto_model keys --out people.csv", 2, "people.csv"),
    ("proto_model verify -m nosuch", 2, "There is no folder nosuch. Give one, or a URI such as"),
    (
        "proto_model verify -m {version} --key nosuch.pem",
        2,
        "The key nosuch.pem cannot be read: No such file",
    ),
    ("proto_model versions publish people/1 --key no.pem", 2, "The signing key no.pem cannot be read"),
    ("proto_model versions edit people/1 --description-file no.md", 2, "Cannot read no.md: No such file"),
    ("proto_model mapping attach nosuch.yaml", 2, "No mapping nosuch.yaml in "),
    ("proto_model mapping attach people.csv --model {version}", 2, "people.csv does not fit the model"),
    ("proto_model package --out .", 2, "is there already. Remove it, or give another name."),
    ("proto_model package check nosuch.zip", 2, "There is no package nosuch.zip."),
    ("proto_model package check people.csv", 2, "people.csv cannot be unpacked"),
    ("proto_model invoke --data nosuch.csv", 2, "Cannot read nosuch.csv: No such file or directory."),
    ("proto_model invoke --data sheet.xlsx", 2, "is not text. Give rows as JSON or as CSV"),
    ("proto_model invoke --token-file nosuch", 2, "Cannot read the token file nosuch: No"),
    ("proto_model container serve", 2, "There is no model to serve in any of "),
    (f"mapper predict --url {NOBODY} --data nosuch.csv", 2, "Cannot read nosuch.csv: No such file"),
    ("mapper predict --file nosuch.csv --out o.csv --store s3://b", 2, "nosuch.csv does not exist."),
    (
        "mapper predict --file people.csv --out o.xlsx --store s3://b",
        2,
        "No format has names such as o.xlsx.",
    ),
    ("mapper predict --file people.csv --out o.csv --store b/f", 2, "s3://bucket or s3://bucket/folder"),
    ("mapper predict --file people.csv", 2, "--file needs --out and --store."),
    ("mapper predict", 2, "Give rows as name=value pairs, with --data or with --file."),
    ("mapper schema --schema nosuch.json", 2, "Cannot read nosuch.json: No such file"),
    ("mapper schema --schema people.csv", 2, "people.csv: Not a model schema"),
    ("mapper serve --schema nosuch.json", 2, "Cannot read nosuch.json"),
    ("mapper serve --schema {version} --token-file nosuch", 2, "Cannot read the token file nosuch: No"),
    ("mapper serve --log-level loud", 2, "it must be one of debug, info, warning, error"),
    ("mapper serve --schema {version} --mapping nosuch.yaml", 2, "Cannot read nosuch.yaml"),
    ("mapper mapping check people.csv --model {version}", 2, "people.csv: path/to/module.py:Class"),
]

REGISTRY = [
    ("proto_model compare", 2, "There is no registered model 'proto_model'. MLflow at "),
    ("proto_model compare --model poeple", 2, "Did you mean 'people'? MLflow at "),
    ("proto_model compare --model people", 2, "'people' has no challenger. Train one, or "),
    ("proto_model compare --model people --rollback", 2, "There is no promotion of 'people' to undo"),
    ("proto_model compare --model people --gate foo", 2, "Gate 'foo' is not understood. --gate expects"),
    ("proto_model serve -m models:/people@champoin -p 0", 2, "Did you mean 'champion'?"),
    (
        "proto_model score --input people.csv --output o.csv --model models:/people@best",
        2,
        "It has 'champion'.",
    ),
    ("proto_model serve -m runs:/nosuch/model -p 0", 2, "there is no such model. Give models:/name@alias"),
    ("proto_model serve -m models:/people/1/nosuch -p 0", 2, "Cannot load models:/people/1/nosuch: there is"),
    ("proto_model verify -m models:/nosuch", 2, "models:/nosuch names no registered version. Give one"),
    ("proto_model mlserver models:/people@best", 2, "'people' has no alias 'best'. It has 'champion'."),
    ("proto_model package --out pkg -m models:/people@best", 2, "'people' has no alias 'best'."),
    ("proto_model verify -m models:/people@best", 2, "'people' has no alias 'best'."),
    ("proto_model versions list nosuch", 2, "MLflow at sqlite:///"),
    ("proto_model versions list --sort foo people", 2, "No version has the metric 'foo'. Sort by version, "),
    (
        "proto_model versions show people@best",
        2,
        "To list them, type: python -m proto_model versions list people",
    ),
    (
        "proto_model versions show people/9",
        2,
        "There is no version 9 of 'people', which has versions up to 1.",
    ),
    ("proto_model versions show a@b@c", 2, "'a@b@c' names no model. Give name, models:/name@alias"),
    ("proto_model versions edit people/1 --set foo", 2, "--set 'foo' given, KEY=VALUE expected."),
    ("proto_model formats delete -m people/1 onnx", 2, "There is no terminal to ask at. Give --yes."),
    ("proto_model versions delete people/1 --yes", 1, "has the alias champion, so it stays. Give --force"),
    ("proto_model formats list -m people", 2, "'people' names no version. Give models:/name@alias"),
    ("proto_model formats add -m people/1 onxx", 2, "There is no format 'onxx'. There are 'onnx'"),
    ("proto_model formats download -m people/1 onnx", 2, "has no format 'onnx'. It has no formats."),
    ("proto_model access list --model people", 2, "Set MLFLOW_TRACKING_URI to the server's address."),
    (
        "mapper schema --model models:/people@best",
        2,
        "people has no version with the alias 'best'; its aliases:",
    ),
    ("mapper schema --model models:/people/9", 2, "people has no version 9; the newest is 1."),
    ("mapper schema --model models:/poeple@champion", 2, "did you mean 'people'?. Name one of these"),
    ("mapper schema --model people", 2, "Cannot read people"),
    ("mapper schema --model models:/people", 2, "is not a model URI. Give "),
]

SERVERS = [
    (
        f"proto_model versions list --tracking-uri {NOBODY}",
        1,
        "Check MLFLOW_TRACKING_URI and whether the server",
    ),
    (f"proto_model compare --tracking-uri {NOBODY}", 2, "is running. Connection refused."),
    (
        "proto_model versions list --tracking-uri sqlite:///no.db",
        2,
        "no.db. To make one, train a model: python",
    ),
    (
        "proto_model compare --tracking-uri sqlite:////no/such/folder/m.db",
        2,
        "There is no MLflow store /no/such",
    ),
    (f"proto_model invoke --url {NOBODY} --wait-s 0", 1, "Connection refused. Is the server running?"),
    ("proto_model invoke --url 127.0.0.1:5001", 2, "The URL is not valid. Give one such as http://"),
    ("proto_model invoke --url http://127.0.0.1:99999", 2, "The URL is not valid."),
    ("proto_model serve -m {folder} -p {taken}", 2, "the address is in use. Choose another port with -p"),
    ("proto_model serve -m {folder} --host 192.0.2.1", 2, "this machine has no such address. Check --host"),
    ("proto_model serve -m {folder} --host no.such.invalid", 2, "Check --host"),
    ("proto_model serve -m {folder} -p 0 --tls-cert nosuch.pem", 2, "nosuch.pem"),
    (f"mapper predict --url {NOBODY} age=4", 1, "Start one with `python -m mapper serve`, or give --url."),
    ("mapper predict --url 127.0.0.1:8080 age=4", 2, "http://host:port or https://host expected."),
    (f"mapper predict --url {NOBODY} agefour", 2, "'agefour' given, name=value expected."),
    (f"mapper predict --model-server-url {NOBODY} a=1", 2, "--model-server-url needs --schema or --model"),
    ("mapper serve --schema {version} --port 99999", 2, "a port is at most 65535."),
    (
        "mapper serve --schema {version} --port {taken}",
        2,
        "the address is in use. Choose another port with --port",
    ),
    ("mapper serve --schema {version} --health-port {taken} --port 0", 2, "another port with --health-port"),
    ("mapper serve --schema {version} --host 192.0.2.1", 2, "this machine has no such address. Check --host"),
    ("mapper serve --model-server-url localhost:5001", 2, "http://host:port or https://host expected."),
    (f"mapper schema --registry-url {NOBODY} --model people@champion", 1, "does not answer"),
    (
        "mapper schema --registry-url sqlite:///no.db --model people@champion",
        2,
        "There is no MLflow store at",
    ),
]


@pytest.fixture(scope="module")
def store(logged: Logged) -> str:
    """URI of a store with the model `people`, whose only version is champion."""
    register_version(logged.model_uri, "people", run_id=logged.run_id, alias="champion")
    return logged.tracking_uri


@pytest.fixture(scope="module")
def taken() -> Iterator[int]:
    """A port where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def words(store: str, logged: Logged, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files, the store, and what stands for their names in a command."""
    rows = [f"{age},{age % 7},{'yes' if age % 3 else 'no'}" for age in range(60)]
    for name, n_rows in (("people.csv", 60), ("five.csv", 5), ("text.parquet", 60)):
        (tmp_path / name).write_text("\n".join(["age,children,class", *rows[:n_rows]]))
    (tmp_path / "sheet.xlsx").write_bytes(b"PK\x03\x04\x14\0\x06\0\xff\xfe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    for name in [name for name in os.environ if name.startswith(("MAPPER_", "AWS_", "MLFLOW_RUN"))]:
        monkeypatch.delenv(name)
    yield {"version": "models:/people/1", "folder": str(tmp_path), "taken": str(taken)}
    mlflow.set_tracking_uri(store)


@pytest.mark.parametrize(("typed", "code", "sentence"), [*PARSED, *FILES, *REGISTRY, *SERVERS])
def test_a_mistake_is_told_in_one_form(typed, code, sentence, words, tmp_path, capfd):
    program, *arguments = shlex.split(typed.format(**words))
    there = sorted(path.name for path in tmp_path.iterdir())

    try:
        ended = PROGRAMS[program](arguments)
    except SystemExit as exit_:
        ended = exit_.code

    said = capfd.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert ended == code, said
    assert len(errors) == 1, said
    assert sentence in said
    assert "Traceback" not in said
    assert "[Errno" not in said
    # Nothing is left behind, above all no empty database.
    assert sorted(path.name for path in tmp_path.iterdir()) == there
