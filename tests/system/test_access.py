"""Tokens and TLS from the command line to the model: clients, the mapper, and the lean server."""

import contextlib
import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings

import pytest

from proto_model.model import write_bundle
from proto_model.registry.logged_model import CODE, example_rows, save_model
from proto_model.registry.signature import rows_signature
from proto_model.table import encode, load_training_data
from proto_model.training import make_pipeline
from tests.certificates import Authority

pytestmark = [
    pytest.mark.system,
    # mlflow 3.17 on the columns of an input example
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
OPERATOR, MAPPER, APP, SCRAPER = ("o" * 32, "m" * 32, "a" * 32, "s" * 32)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a logged model, and a row for it."""
    folder = tmp_path_factory.mktemp("model")
    data = load_training_data("iris", None, 0.2, "proto_model")
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10).fit(data.X_train, data.y_train)
    encoded = encode(data.X_test, data.schema)
    write_bundle(folder / "bundle", pipeline, data.schema, encode(data.X_train, data.schema))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Add type hints to the `predict` method", UserWarning)
        save_model(
            folder / "model",
            bundle=folder / "bundle",
            code=CODE / "forest.py",
            signature=rows_signature(data.schema),
            input_example=example_rows(encoded, data.schema),
        )
    return folder / "model", data.X_test.iloc[0].to_dict()


@contextlib.contextmanager
def running(log, *command, **variables):
    """URL of a server that listens."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAPPER_", "PROTO_MODEL_"))}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stderr=stderr, cwd=log.parent, env=kept | variables
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"https?://(?:127\.0\.0\.1|localhost):(\d+)\n", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield found[0].strip()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def scene(tmp_path_factory, model):
    """A lean server and a mapper in front of it, both with TLS and tokens; and what clients need."""
    folder = tmp_path_factory.mktemp("access")
    chain, key = Authority.made(folder).issue("server")
    files = {
        "model-tokens": f"mapper: {MAPPER}\noperator: {OPERATOR}\n",
        "mapper-tokens": f"app: {APP}\nprometheus: {SCRAPER}\n",
        "own-token": f"mapper: {MAPPER}\n",
        "app-token": APP,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    tls = ["--tls-cert", str(chain), "--tls-key", str(key)]
    flags = ["-m", str(model[0]), "-p", "0", "--token-file", str(folder / "model-tokens"), "--access-log"]
    with running(folder / "lean.log", "proto_model", "serve", *flags, *tls) as lean:
        flags = ["--port", "0", "--schema", str(model[0]), "--model-server-url", lean]
        flags += ["--model-token-file", str(folder / "own-token"), "--open", "none"]
        flags += [
            "--model-ca-file",
            str(folder / "authority.pem"),
            "--token-file",
            str(folder / "mapper-tokens"),
        ]
        with running(folder / "mapper.log", "mapper", "serve", *flags, *tls) as mapper:
            yield folder, lean, mapper, model[1]


def test_the_mapper_shows_its_certificate_to_a_server_that_asks_for_one(model, tmp_path):
    authority = Authority.made(tmp_path)
    (chain, key), (own, own_key) = authority.issue("server"), authority.issue("mapper")
    ca = str(tmp_path / "authority.pem")
    flags = ["-m", str(model[0]), "-p", "0", "--tls-cert", str(chain), "--tls-key", str(key)]
    with running(tmp_path / "lean.log", "proto_model", "serve", *flags, "--tls-client-ca", ca) as lean:
        flags = ["--port", "0", "--schema", str(model[0]), "--model-server-url", lean, "--model-ca-file", ca]
        shown = ["--model-cert-file", str(own), "--model-key-file", str(own_key)]
        for more, expected in (([], 503), (shown, 200)):
            with running(tmp_path / "mapper.log", "mapper", "serve", *flags, *more) as mapper:
                status, text, _ = ask((tmp_path,), f"{mapper}/v1/predict", {"data": model[1]})
                assert status == expected, text


def ask(scene, url, body=None, token=None, wait_s=30):
    """Status, text and headers of an answer, asked again while nothing listens."""
    context = ssl.create_default_context(cafile=scene[0] / "authority.pem")
    headers = JSON | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    end = time.monotonic() + wait_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as response:
                return response.status, response.read().decode(), response.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.headers
        except ConnectionError:
            assert time.monotonic() < end


def test_an_application_asks_through_both(scene):
    folder, lean, mapper, record = scene

    status, text, _ = ask(scene, f"{mapper}/v1/predict", {"data": record}, APP)
    assert status == 200
    assert json.loads(text)["predictions"]
    assert "client=mapper" in (folder / "lean.log").read_text()
    assert "client=app" in (folder / "mapper.log").read_text()
    status, text, _ = ask(scene, f"{lean}/metrics", token=OPERATOR)
    assert status == 200
    assert re.search(r'proto_model_client_requests_total\{client="mapper"\} [1-9]', text)
    status, text, _ = ask(scene, f"{mapper}/metrics", token=SCRAPER)
    assert re.search(r'mapper_client_requests_total\{client="app"\} [1-9]', text)


@pytest.mark.parametrize("token", [None, MAPPER, "x" * 32])
@pytest.mark.parametrize("path", ["/v1/predict", "/healthz", "/metrics", "/docs"])
def test_the_mapper_asks_for_a_token(scene, path, token):
    body = {"data": scene[3]} if path == "/v1/predict" else None

    status, text, headers = ask(scene, scene[2] + path, body, token)

    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="mapper"')
    assert headers["Content-Type"] == "application/problem+json"
    problem = json.loads(text)
    assert (problem["status"], problem["title"]) == (401, "A token is needed")
    assert "token" in problem["detail"]


@pytest.mark.parametrize("path", ["/invocations", "/v2/models/proto_model/infer", "/metrics"])
def test_the_lean_server_asks_for_a_token_but_tells_its_health(scene, path):
    body = None if path == "/metrics" else {}
    given, text, headers = ask(scene, scene[1] + path, body)

    assert (given, headers["WWW-Authenticate"]) == (401, 'Bearer realm="proto_model"')
    said = "This needs a token: send `Authorization: Bearer <token>`."
    assert json.loads(text) == {"error_code": "UNAUTHENTICATED", "message": said, "error": said}
    assert ask(scene, f"{scene[1]}/ping")[0] == 200
    assert ask(scene, f"{scene[1]}/v2/health/ready")[0] == 200


def test_commands_send_a_token(scene, tmp_path):
    folder, lean, mapper, record = scene
    ca = ["--ca-file", str(folder / "authority.pem")]
    row = tmp_path / "row.json"
    row.write_text(json.dumps(record))

    def run(*command, **variables):
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )

    app = ["--token-file", str(folder / "app-token")]
    asked = run("mapper", "predict", "--url", mapper, "--data", str(row), *app, *ca, "--json")
    assert asked.returncode == 0, asked.stderr
    invoke = ["proto_model", "invoke", "--data", str(row), "--wait-s", "5", *ca]
    for arguments, variables in (
        (["--mapper", "--url", mapper, *app], {}),
        (["--url", lean], {"PROTO_MODEL_TOKEN": OPERATOR}),
    ):
        asked = run(*invoke, *arguments, **variables)
        assert asked.returncode == 0, asked.stderr
    for arguments in (["--url", lean], ["--url", lean, *app]):
        asked = run(*invoke, *arguments)
        assert asked.returncode == 2
        assert "oken" in asked.stderr
        assert APP not in asked.stderr


def test_a_new_token_file_is_used_without_a_restart(scene):
    folder, lean, _, _ = scene
    path = folder / "model-tokens"
    before = path.read_text()
    new = "n" * 32
    beside = folder / "new"
    try:
        for text, said, expected in (
            (before + f"carla: {new}\n", "of carla, mapper", 200),
            ("broken", "stay in force", 200),
            (before, "of mapper, operator", 401),
        ):
            beside.write_text(text)
            beside.chmod(0o600)
            os.replace(beside, path)
            deadline = time.monotonic() + 30
            while said not in (folder / "lean.log").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert ask(scene, f"{lean}/v1/schema", token=new)[0] == expected
    finally:
        path.write_text(before)


def test_no_log_holds_a_token(scene):
    folder = scene[0]
    ask(scene, f"{scene[2]}/v1/predict", {"data": scene[3]}, APP)
    ask(scene, f"{scene[1]}/invocations", {}, "wrong" * 8)

    for name in ("lean.log", "mapper.log"):
        text = (folder / name).read_text()
        for token in (OPERATOR, MAPPER, APP, SCRAPER, "wrong" * 8):
            assert token not in text


@pytest.mark.parametrize("server", ["lean", "mapper"])
def test_a_server_does_not_start_with_a_file_that_is_wrong(model, tmp_path, server):
    tokens = tmp_path / "tokens"
    tokens.write_text("nobody\n")
    flags = ["--port", "0", "--token-file", str(tokens)]
    lean = ["proto_model", "serve", "-m", str(model[0])]
    command = [*(lean if server == "lean" else ["mapper", "serve", "--schema", str(model[0])]), *flags]

    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert done.returncode != 0
    assert "Line 1 of the token file" in done.stderr
    assert "Traceback" not in done.stderr
