"""Serve the model of an image. Images start this command.

Example: python -m proto_model container serve --workers 2

The model is the first of these folders that holds one: /opt/ml/model (SageMaker), the one that
AZUREML_MODEL_DIR names, /mnt/models (KServe), and /opt/model, which is built in. The port is PORT, by
default 8080. Other arguments go to `python -m proto_model serve`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from proto_model.addresses import MAX_PORT, port_number
from proto_model.cli.exit_code import WRONG, exit_code, tell
from proto_model.cli.parser import CommandParser
from proto_model.registry.publishing.trust import Trust

BUILT_IN = Path("/opt/model")
SAGEMAKER = Path("/opt/ml/model")
KSERVE = Path("/mnt/models")
DEFAULT_PORT = "8080"

_MLMODEL = "MLmodel"
_MLSERVER = Path("/tmp/mlserver")  # what the image holds cannot be written to


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("container", __doc__)
    parser.add_argument("action", nargs="?", choices=("serve",), default="serve", help="default: %(default)s")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="options of `serve`")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code of the server."""
    arguments = build_parser().parse_args(argv)
    port = os.environ.get("PORT", DEFAULT_PORT)
    folder = model_folder(os.environ)
    if folder is None:
        places = ", ".join(map(str, places_of(os.environ)))
        tell(f"There is no model to serve in any of {places}. Mount one there.")
        return WRONG
    if port_number(port) is None:
        tell(f"PORT is {port!r}, a port from 0 to {MAX_PORT} expected.")
        return WRONG
    server = os.environ.get("PROTO_MODEL_CONTAINER_SERVER", "lean")
    if server != "lean":
        return exit_code(lambda: _become(server, folder, port))
    from proto_model.cli import serve

    address = ["--host", "0.0.0.0", "--port", port, "--allowed-hosts", "*"]
    return serve.main(["-m", str(folder), *address, *arguments.options])


def places_of(environment: Mapping[str, str]) -> list[Path]:
    """Folders in which a model may be, the most particular one first."""
    azure = environment.get("AZUREML_MODEL_DIR")
    return [SAGEMAKER, *([Path(azure)] if azure else []), KSERVE, BUILT_IN]


def model_folder(environment: Mapping[str, str]) -> Path | None:
    """The first folder with a model; platforms may have put it some folders below."""
    for place in places_of(environment):
        for folder in _candidates(place):
            if (folder / _MLMODEL).is_file():
                return folder
    return None


def _candidates(place: Path) -> Iterable[Path]:
    yield place
    for pattern in ("*/", "*/*/"):
        yield from sorted(place.glob(pattern))


def _become(server: str, folder: Path, port: str) -> int:
    """Replace this process by MLflow's server or by MLServer."""
    environment = dict(os.environ)
    trust = Trust.asked(False, (), os.environ)
    if trust:
        from proto_model.registry.publishing import trusted

        folder = trusted(str(folder), Path(tempfile.mkdtemp(prefix="proto_model-")) / "model", trust)
    if server == "mlflow":
        from mlflow.pyfunc.scoring_server import _SERVER_MODEL_PATH

        environment[_SERVER_MODEL_PATH] = str(folder)
        module = ["-m", "uvicorn", "--host", "0.0.0.0", "--port", port]
        module += ["mlflow.pyfunc.scoring_server.app:app"]
    else:  # its command has no module that `-m` runs, and an image has no programs
        module = ["-c", "from mlserver.cli import main; main()", "start", str(_configured(folder, port))]
    os.execve(sys.executable, [sys.executable, *module], environment)


def _configured(folder: Path, port: str) -> Path:
    """Folder that `mlserver start` takes, with a copy of the model."""
    import shutil

    from proto_model.serving.mlserver.configs import write_mlserver_configs

    shutil.rmtree(_MLSERVER, ignore_errors=True)  # of the container before, where its /tmp outlives it
    _MLSERVER.mkdir(parents=True)
    copy = _MLSERVER / ".download"
    shutil.copytree(folder, copy)
    environment = {"MLSERVER_HOST": "0.0.0.0", "MLSERVER_HTTP_PORT": port, **os.environ}
    write_mlserver_configs(copy, _MLSERVER, environment)
    return _MLSERVER


if __name__ == "__main__":
    sys.exit(main())
