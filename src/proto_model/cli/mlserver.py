"""Write what MLServer needs to serve a model version, for rows or for files; with --serve, start it.

Example: python -m proto_model mlserver --serve runs:/$MLFLOW_RUN_ID/model -p 5001

--serve does what `mlflow models serve --enable-mlserver` did up to MLflow 3.12: it writes the configuration,
makes an environment with MLServer and the model's requirements unless this one has them, and starts MLServer.
Without it, only the configuration is written, as by generate_mlserver_configs.sh, which also says which
environment variables set host, ports and limits.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.cli.exit_code import exit_code
from proto_model.cli.model_uri import CHAMPION, HELP
from proto_model.cli.parser import CommandParser, port
from proto_model.cli.trust import add_trust, given_trust
from proto_model.errors import ArtifactError, ProtoModelError

if TYPE_CHECKING:
    from proto_model.registry.publishing import Trust

REQUIREMENTS = Path("artifact", "model", "requirements.txt")


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("mlserver", __doc__)
    parser.add_argument("model_uri", nargs="?", default=CHAMPION, help=HELP)
    parser.add_argument(
        "build",
        nargs="?",
        type=Path,
        default=Path("build"),
        help="folder to write to; `mlserver start` is given the same (default: %(default)s)",
    )
    parser.add_argument("--serve", action="store_true", help="make the environment, and start MLServer in it")
    parser.add_argument(
        "-p", "--port", type=port, help="port for HTTP (default: MLSERVER_HTTP_PORT, or 5001)"
    )
    parser.add_argument("--host", help="address to listen on (default: MLSERVER_HOST, or 127.0.0.1)")
    add_trust(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the folder is written, 1 when it could not be. --serve becomes MLServer."""
    arguments = build_parser().parse_args(argv)
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    given = {"MLSERVER_HTTP_PORT": arguments.port, "MLSERVER_HOST": arguments.host}
    environment = os.environ | {name: str(value) for name, value in given.items() if value is not None}

    def run() -> int:
        trust = given_trust(arguments)
        folder = _configured(arguments.model_uri, arguments.build, environment, trust)
        if arguments.serve:
            _serve(folder, arguments.build, environment)
        print(shlex.join(["pip", "install", "-r", str(folder / REQUIREMENTS)]))
        print(shlex.join(["mlserver", "start", str(arguments.build)]))
        return 0

    return exit_code(run)


def _configured(model_uri: str, build: Path, environment: dict[str, str], trust: Trust) -> Path:
    """Folder of a model that was downloaded; what can be wrong besides the model is found out before."""
    from proto_model.registry.publishing import trusted
    from proto_model.serving.mlserver.configs import check_environment, write_mlserver_configs

    check_environment(environment)
    is_new = not build.exists()
    try:
        build.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that it need not be copied again.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=build) as download:
            model = trusted(model_uri, Path(download), trust)
            return write_mlserver_configs(model, build, environment)
    except OSError as error:
        raise ArtifactError(
            f"Cannot write {model_uri} to {build}: {error.strerror or error}. Set BUILD_DIR to a folder that "
            "may be written to, with room for the model."
        ) from error
    except ProtoModelError:
        if is_new:
            build.rmdir()
        raise


def _serve(folder: Path, build: Path, environment: dict[str, str]) -> None:
    """Become MLServer with this model alone, whatever else the build folder holds."""
    from proto_model.serving.mlserver.environment import programs

    bin_folder = programs(folder / REQUIREMENTS, build)
    program = bin_folder / "mlserver"
    path = os.pathsep.join([str(bin_folder), environment.get("PATH", os.defpath)])
    print(shlex.join([str(program), "start", str(folder)]), file=sys.stderr, flush=True)
    os.execve(program, [str(program), "start", str(folder)], environment | {"PATH": path})


if __name__ == "__main__":
    sys.exit(main())
