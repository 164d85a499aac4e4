"""The mapper in a virtual environment with nothing but its own requirements."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def python():
    """Interpreter of the environment, which is kept for the next run."""
    requirements, constraints = ROOT / "mapper" / "requirements.txt", ROOT / "constraints.txt"
    return str(environment("mapper", requirements, constraints=constraints) / "python")


def run(python, *argv):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MAPPER_", "MLFLOW_"))}
    return subprocess.run([python, *argv], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_it_predicts_explains_and_fails_properly(python, start_service, model_server, schema_path, record):
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    limits = ("--predict-timeout-s", "0.4", "--max-body-bytes", "100000")
    with start_service(*flags, *limits, python=python) as service:
        assert service.call("/v1/predict", {"data": record})[1]["predictions"][0]["prediction"] == "Gentoo"
        assert "explanation" in service.call("/v1/explain", {"data": record})[1]["predictions"][0]

        def status(body={"data": record}, headers=None):  # noqa: B006
            code, answer, given = service.call("/v1/predict", body, headers)
            assert code < 400 or given["Content-Type"] == "application/problem+json"
            assert "Traceback" not in json.dumps(answer)
            return code

        assert status(b"{") == 400
        assert status(b"[" + b" " * 100_000 + b"]") == 413
        assert status(headers={"Content-Type": "text/csv"}) == 415
        assert status({"data": {}}) == 422
        model_server.answer = []
        assert status() == 502
        model_server.reset()
        model_server.resets = 9
        assert status() == 503
        model_server.reset()
        model_server.delay_s = 0.6
        assert status() == 504
        assert "Traceback" not in service.log.read_text()


def test_its_command_line_works_there(python, model_server, schema_path):
    server = ["--model-server-url", model_server.url, "--schema", str(schema_path)]

    predicted = run(python, "-m", "mapper", "predict", *server, "mass=4.2", "ringed=true", "--json")
    explained = run(python, "-m", "mapper", "explain", *server, "mass=4.2", "ringed=true")

    assert json.loads(predicted.stdout)["predictions"][0]["prediction"] == "Gentoo", predicted.stderr
    assert "mass > 4.1" in explained.stdout, explained.stderr


def test_importing_it_is_quick_and_small(python):
    code = """if True:
        import pathlib, re, time
        started = time.process_time()
        import mapper
        seconds = time.process_time() - started
        status = pathlib.Path("/proc/self/status")  # Linux
        peak = re.search("VmHWM:[^0-9]*([0-9]+)", status.read_text())[1] if status.exists() else 0
        print(seconds, int(peak) / 1024)
    """
    run(python, "-c", code)  # compiles the bytecode

    measured = [tuple(map(float, run(python, "-c", code).stdout.split())) for _ in range(3)]

    seconds, mebibytes = min(measured)
    print(f"import mapper: {seconds:.3f} s, {mebibytes:.0f} MiB")
    assert seconds < 0.2
    assert mebibytes < 60
