"""Write what MLServer needs to serve a model version, for rows or for files.

Example: python -m proto_model.cli.mlserver models:/proto_model@champion build

generate_mlserver_configs.sh calls this, and says which environment variables set host, ports and limits.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from proto_model.errors import ArtifactError, ProtoModelError


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m proto_model.cli.mlserver",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model_uri", help="folder or URI of the model")
    parser.add_argument("build", type=Path, help="folder to write to; `mlserver start` is given the same")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the folder is written, 1 when it could not be."""
    arguments = build_parser().parse_args(argv)
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    try:
        folder = _configured(arguments.model_uri, arguments.build)
    except ProtoModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(shlex.join(["pip", "install", "-r", str(folder / "artifact" / "model" / "requirements.txt")]))
    print(shlex.join(["mlserver", "start", str(arguments.build)]))
    return 0


def _configured(model_uri: str, build: Path) -> Path:
    """Folder of a model that was downloaded; what can be wrong besides the model is found out before."""
    from proto_model.registry.model_folder import downloaded
    from proto_model.serving.mlserver.configs import check_environment, write_mlserver_configs

    check_environment(os.environ)
    try:
        build.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that it need not be copied again.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=build) as download:
            return write_mlserver_configs(downloaded(model_uri, Path(download)), build, os.environ)
    except OSError as error:
        raise ArtifactError(
            f"Cannot write {model_uri} to {build}: {error.strerror or error}. Set BUILD_DIR to a folder that "
            "may be written to, with room for the model."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
