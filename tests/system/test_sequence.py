"""The way of the original description, line by line from a clean store: every block, in its order.

In the environment that is there, and, as `make sequence`, in environments made for it, which pip fills.
"""

import re
import sys
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.terminal import Terminal, copy_of_the_repository

pytestmark = pytest.mark.system

PORTS = ("5000", "5001", "8081", "8082", "9000")
PASSWORD = "a password of more than twelve letters"
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:///basic_auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 3600
"""
REQUIREMENTS = "./build/mlserver_configs/proto_model/artifact/model/requirements.txt"
needs_mlserver = pytest.mark.skipif(sys.version_info >= (3, 14), reason="MLServer needs a Python below 3.14")


class Way:
    """The terminals of a user: one for the tracking server, one for the rest."""

    def __init__(self, folder, *, in_fresh_environments, training=""):
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        for name in ("repository", "server", "tango-interfaces"):
            (folder / name).mkdir()
        self.folder = folder
        self.is_fresh = in_fresh_environments
        self.training = training
        # By default the server hashes the password anew for each request, which takes half of a test's time.
        settings = folder / "server" / "settings.ini"
        settings.write_text(AUTH)
        self.server = Terminal(
            folder / "server",
            ports,
            MLFLOW_AUTH_CONFIG_PATH=str(settings),
            MLFLOW_AUTH_ADMIN_PASSWORD=PASSWORD,
            MLFLOW_FLASK_SERVER_SECRET_KEY="for the tests",
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        )
        own = {"MLSERVER_HTTP_PORT": "5001", "MLSERVER_GRPC_PORT": "8081", "MLSERVER_METRICS_PORT": "8082"}
        self.user = Terminal(
            copy_of_the_repository(folder / "repository"),
            ports,
            **{name: ports[port] for name, port in own.items()},
        )
        self.ports = ports
        if in_fresh_environments:
            for terminal in (self.server, self.user):
                terminal.env.pop("PYTHONPATH", None)

    def type(self, block, expected=0):
        return self.user.type(block, expected)

    def serving(self, block):
        return self.user.serving(block, "http://127.0.0.1:5001/ping")

    def enter_an_environment(self, terminal, name):
        """Make an environment beside the repository, and activate it."""
        folder = self.folder / name
        terminal.type(f"{sys.executable} -m venv {folder}")
        terminal.type(f"source {folder}/bin/activate")
        assert terminal.type("command -v pip").strip() == f"{folder}/bin/pip"

    def train(self, options=""):
        """Train, and export the run as it is printed."""
        said = self.type(f"mlflow run --env-manager local ./src {options} {self.training}")
        [run] = re.findall(r"^MLFLOW_RUN_ID=([0-9a-f]{32})$", said, re.MULTILINE)
        return run


@pytest.fixture
def tango_interfaces():
    """Writes a stand-in for the package that a user has beside the repository."""

    def write(folder):
        (folder / "tango_interfaces").mkdir()
        (folder / "tango_interfaces" / "__init__.py").write_text(
            "import abc\n\n\nclass TangoModel(abc.ABC):\n    def map_request(self, request, session=None):\n"
            "        raise NotImplementedError\n"
        )
        (folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
            '[project]\nname = "tango-interfaces"\nversion = "1.0"\n'
            '[tool.setuptools]\npackages = ["tango_interfaces"]\n'
        )
        return folder

    return write


@pytest.mark.long
@needs_mlserver
def test_every_block_in_this_environment(tmp_path):
    way = Way(tmp_path, in_fresh_environments=False, training="-P n_candidates=1 -P dataset=iris")
    way.user.env["PYTHONPATH"] = f"{tmp_path}/repository/src:{tmp_path}/repository"

    walk(way)


@needs_mlserver
@pytest.mark.sequence
def test_every_block_in_fresh_environments(tmp_path, tango_interfaces):
    way = Way(tmp_path, in_fresh_environments=True)
    tango_interfaces(tmp_path / "tango-interfaces")

    walk(way)


def walk(way):
    if way.is_fresh:
        way.enter_an_environment(way.server, "server-environment")
        way.server.type(f"pip install 'mlflow[auth]' -c {way.folder}/repository/constraints.txt")
    ui = "mlflow ui --app-name basic-auth --port 5000 --workers 1"
    with way.server.serving(ui, "http://127.0.0.1:5000/health"):
        way.type(
            'export MLFLOW_TRACKING_URI="http://127.0.0.1:5000" MLFLOW_EXPERIMENT_NAME="test"\n'
            f'export MLFLOW_TRACKING_USERNAME="admin" MLFLOW_TRACKING_PASSWORD="{PASSWORD}"'
        )
        install(way)
        rows = way.train()
        files = way.train("-P file_management=true")
        if way.is_fresh:
            way.type("pip install -r requirements-dev-modelserver.txt")
        serve_and_invoke(way, rows, "Predictions")
        if way.is_fresh:
            serve_with_the_flag(way, rows)
        way.type("export PROTO_MODEL_FILES_ALLOWED_HOSTS=127.0.0.1:9000 PROTO_MODEL_FILES_ALLOW_HTTP=true")
        with way.user.serving(
            "python scripts/object_store.py serve --folder build/store --port 9000", "tcp://127.0.0.1:9000"
        ):
            serve_and_invoke(way, files, "checked: 100 rows came back in order, each with a prediction")
            assert "promoted" in way.type("python compare.py")
            deploy(way)


def install(way):
    if way.is_fresh:
        way.enter_an_environment(way.user, "environment")
        way.type("pip install -r requirements.txt")
        way.type("pip install -r requirements-dev.txt")
        way.type(f"pip install -e {way.folder}/tango-interfaces/")
        module = way.type("python -c 'import mapper; print(mapper.TangoModel.__module__)'")
        assert module.strip() == "tango_interfaces"


def serve_and_invoke(way, run, said):
    """Type the flag, which this MLflow has no more, then the command that does the same, then the script."""
    way.type(f'export MLFLOW_RUN_ID="{run}"')
    flag = "mlflow models serve -m runs:/$MLFLOW_RUN_ID/model --enable-mlserver -p 5001"
    assert "No such option" in way.type(flag, expected=2)
    with way.serving("python -m proto_model mlserver --serve runs:/$MLFLOW_RUN_ID/model -p 5001"):
        assert said in way.type("python run_proto_model_invocation.py --url http://127.0.0.1:5001")


def serve_with_the_flag(way, run):
    """Type the flag where MLflow still has it."""
    legacy = Terminal(way.folder / "repository", way.ports)
    legacy.env = dict(way.user.env)
    way.enter_an_environment(legacy, "mlflow-3.12")
    legacy.type("pip install -r requirements-enable-mlserver.txt")
    command = (
        "mlflow models serve -m runs:/$MLFLOW_RUN_ID/model --enable-mlserver -p 5001 --env-manager local"
    )
    with legacy.serving(command, "http://127.0.0.1:5001/ping"):
        said = way.type("python run_proto_model_invocation.py --url http://127.0.0.1:5001 --explain")
    assert "Why row 0: " in said


def deploy(way):
    way.type("./generate_mlserver_configs.sh")
    assert Path(way.folder, "repository", REQUIREMENTS).is_file()
    if way.is_fresh:
        way.type(f"pip install -r {REQUIREMENTS}")
    else:  # the environment that the command above has made
        [bin_folder] = Path(way.folder, "repository", "build", ".mlserver").glob("*/bin")
        way.type(f'export PATH="{bin_folder}:$PATH"')
    with way.serving("mlserver start build"):
        assert "each with a prediction" in way.type(
            f"{sys.executable} run_proto_model_invocation.py --url http://127.0.0.1:5001"
            if not way.is_fresh
            else "python run_proto_model_invocation.py --url http://127.0.0.1:5001"
        )
