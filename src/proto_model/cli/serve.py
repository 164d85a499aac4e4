"""Serve a logged model over HTTP: MLflow's scoring protocol and the Open Inference Protocol V2.

Example: python -m proto_model serve -m models:/proto_model@champion -p 5001

The model, for rows or for files, is a folder or a URI that MLflow understands; MLFLOW_TRACKING_URI says where
the registry is. SIGTERM and Ctrl+C end the server when what it has begun is answered, or took too long.
docs/serving.md says more.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

from proto_model.cli.protection import add_protection
from proto_model.serving.http.certificates import Protection
from proto_model.serving.http.settings import NUMBERS, ServerSettings, expected, number


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line; the defaults are those of `ServerSettings`."""
    default = ServerSettings()
    parser = argparse.ArgumentParser(
        prog="python -m proto_model serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-m",
        "--model-uri",
        default="models:/proto_model@champion",
        help="folder or URI of the model (default: %(default)s)",
    )
    parser.add_argument(
        "-p",
        "--port",
        type=_number(int, 0),
        default=default.port,
        help="0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--host", default=default.host, help="address to listen on; 0.0.0.0 for all (default: %(default)s)"
    )
    for name, (kind, least, summary) in NUMBERS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_number(kind, least),
            default=getattr(default, name),
            metavar="N",
            help=f"{summary} (default: %(default)s)",
        )
    parser.add_argument(
        "--allowed-hosts",
        type=lambda text: tuple(filter(None, text.replace(",", " ").split())),
        default=os.environ.get("PROTO_MODEL_ALLOWED_HOSTS", ""),
        metavar="NAMES",
        help="further names that clients may use, separated by commas; *.example.com for all below a name, "
        "* for any (default: PROTO_MODEL_ALLOWED_HOSTS)",
    )
    parser.add_argument(
        "--health-port",
        type=_number(int, 0),
        default=default.health_port,
        metavar="N",
        help="further port for health and metrics only, which answers however busy the other one is "
        "(default: none)",
    )
    add_protection(parser)
    parser.add_argument("--access-log", action="store_true", help="write a line per request")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it was told to end, 1 when it could not serve, 2 for wrong arguments."""
    parser = build_parser()
    arguments = vars(parser.parse_args(argv))
    model_uri = arguments.pop("model_uri")
    protection = Protection(**{field.name: arguments.pop(field.name) for field in fields(Protection)})
    if arguments["workers"] > 1 and not hasattr(os, "fork"):
        parser.error("--workers: this system knows no fork; start one server per port")
    return _run(model_uri, ServerSettings(**arguments, protection=protection))


def _run(model_uri: str, settings: ServerSettings) -> int:
    from proto_model.errors import ProtoModelError
    from proto_model.registry.model_folder import downloaded_apart, local_folder
    from proto_model.serving.http.app import listen, protection_of, serve
    from proto_model.serving.http.served_model import ServedModel

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logger = logging.getLogger(__name__)
    with ExitStack() as until_the_end:
        try:
            protection_of(settings)
            listener = listen(settings)
            folder = local_folder(model_uri)  # which needs no place to write: a container may have none
            if folder is None:
                download = until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="proto_model-"))
                folder = downloaded_apart(model_uri, Path(download))
            model = ServedModel.load(folder)
        except ProtoModelError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        logger.info("settings: %s", dataclasses.asdict(settings))
        if model.files is not None:
            logger.info("settings of files: %s", dataclasses.asdict(model.files))
        host, port = listener.getsockname()[:2]
        logger.info(
            "%s version %s on %s://%s:%d",
            model.schema.model_name,
            model.version or "-",
            "https" if settings.protection.tls_cert else "http",
            f"[{host}]" if ":" in host else host,
            port,
        )
        code = serve(model, settings, listener)
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        # A job that was told to end may wait for a store for a while; the time is over.
        logging.shutdown()
        os._exit(code)
    return code


def _number(kind: type, least: float) -> Callable[[str], float]:
    """Reader of a number that is not less than another."""

    def read(text: str) -> float:
        value = number(text, kind, least)
        if value is None:
            raise argparse.ArgumentTypeError(f"{text!r} given, {expected(kind, least)} expected")
        return value

    return read
