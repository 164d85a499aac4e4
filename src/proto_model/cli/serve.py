"""Serve a logged model over HTTP: MLflow's scoring protocol and the Open Inference Protocol V2.

Example: python -m proto_model serve -m models:/proto_model@champion -p 5001

To serve the version that is champion, whichever that is, without a restart:
python -m proto_model serve -m models:/proto_model@champion --follow 10

To serve several, at /models/<name>/invocations and /v2/models/<name>/infer:
python -m proto_model serve -m a=models:/a@champion -m b=models:/a/7

The model, for rows or for files, is a folder or a URI that MLflow understands; MLFLOW_TRACKING_URI says where
the registry is. SIGTERM and Ctrl+C end the server when what it has begun is answered, or took too long.
docs/serving.md says more.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.cli.exit_code import told
from proto_model.cli.model_uri import CHAMPION
from proto_model.cli.parser import CommandParser, port
from proto_model.cli.protection import add_protection
from proto_model.cli.trust import add_trust, given_trust
from proto_model.registry.offer import CAN_FOLLOW, Followed, follow_once
from proto_model.serving.http.certificates import Protection
from proto_model.serving.http.settings import NUMBERS, ServerSettings, expected, number

if TYPE_CHECKING:
    from proto_model.registry.publishing import Trust
    from proto_model.serving.http.hosting import Source

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", re.DOTALL)


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line; the defaults are those of `ServerSettings`."""
    default = ServerSettings()
    parser = CommandParser("serve", __doc__, usage="%(prog)s [options]")
    _add_models(parser.add_argument_group("models"))
    address = parser.add_argument_group("address")
    address.add_argument(
        "-p",
        "--port",
        type=port,
        default=default.port,
        metavar="PORT",
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    address.add_argument(
        "--host", default=default.host, help="address to listen on; 0.0.0.0 for all (default: %(default)s)"
    )
    limits = parser.add_argument_group("limits")
    for name, (kind, least, summary) in NUMBERS.items():
        (address if name == "workers" else limits).add_argument(
            f"--{name.replace('_', '-')}",
            type=_number(kind, least),
            default=getattr(default, name),
            metavar="N",
            help=f"{summary} (default: %(default)s)",
        )
    address.add_argument(
        "--allowed-hosts",
        type=lambda text: tuple(filter(None, text.replace(",", " ").split())),
        default=os.environ.get("PROTO_MODEL_ALLOWED_HOSTS", ""),
        metavar="NAMES",
        help="further names that clients may use, separated by commas; *.example.com for all below a name, "
        "* for any (default: PROTO_MODEL_ALLOWED_HOSTS)",
    )
    address.add_argument(
        "--health-port",
        type=port,
        default=default.health_port,
        metavar="PORT",
        help="another port, for health and metrics only, which answers even when the first one is busy "
        "(default: none)",
    )
    add_protection(parser)
    add_trust(parser)
    address.add_argument("--access-log", action="store_true", help="write a line per request")
    return parser


def _add_models(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "-m",
        "--model-uri",
        action="append",
        metavar="[NAME=]URI",
        help="folder or URI of a model, and the name to serve it under (default: the schema's); may be given "
        f"several times; requests that name no model go to the first (default: {CHAMPION})",
    )
    parser.add_argument(
        "--follow",
        type=_number(float, 0.1),
        metavar="SECONDS",
        help="ask the registry at this interval, and switch to the version that an alias has moved to; "
        "without it, only SIGHUP asks",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it was told to end, 1 when it could not serve, 2 for wrong arguments."""
    parser = build_parser()
    parsed = parser.parse_args(argv)
    arguments = vars(parsed) | {}
    for name in ("require_published", "verify_key"):
        arguments.pop(name)
    asked = arguments.pop("model_uri") or [CHAMPION]
    follow_s = arguments.pop("follow")
    protection = Protection(**{field.name: arguments.pop(field.name) for field in fields(Protection)})
    if arguments["workers"] > 1 and not hasattr(os, "fork"):
        parser.error("--workers: this system knows no fork; start one server per port")
    named = [_named(text) for text in asked]
    if follow_s is not None and not CAN_FOLLOW:
        parser.error("--follow: this system has no locks that processes share")
    if follow_s is not None and not any(Followed.of(uri) for _, uri in named):
        parser.error("--follow: no model is named by an alias, such as models:/proto_model@champion")
    settings = ServerSettings(**arguments, protection=protection)
    return _run(named, follow_s, settings, partial(given_trust, parsed))


def _named(text: str) -> tuple[str, str]:
    """Name, empty if none is given, and URI of `-m`."""
    found = _NAMED.fullmatch(text)
    return (found[1], found[2]) if found and not Path(text).exists() else ("", text)


def _run(
    named: Sequence[tuple[str, str]],
    follow_s: float | None,
    settings: ServerSettings,
    trust: Callable[[], Trust],
) -> int:
    from proto_model.errors import ProtoModelError
    from proto_model.serving.http.app import listen, protection_of, serve
    from proto_model.serving.http.hosting import Hosting

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logger = logging.getLogger(__name__)
    with ExitStack() as until_the_end:
        try:
            protection_of(settings)
            listener = until_the_end.enter_context(listen(settings))
            sources, board = _sources(named, trust(), until_the_end)
            logger.info("settings: %s", dataclasses.asdict(settings))
            for source in sources:
                if source.model is not None and source.model.files is not None:
                    logger.info("settings of files: %s", dataclasses.asdict(source.model.files))
            code = serve(Hosting(sources, settings, board, follow_s), listener)
        except ProtoModelError as error:
            return told(error)
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        # A job that was told to end may wait for a store for a while; the time is over.
        logging.shutdown()
        os._exit(code)
    return code


def _sources(
    named: Sequence[tuple[str, str]], trust: Trust, until_the_end: ExitStack
) -> tuple[list[Source], Path | None]:
    """Models to serve, downloaded and trusted; and the folder where aliases are followed, if there is any."""
    from proto_model.registry.model_folder import local_folder
    from proto_model.registry.publishing import trusted_apart
    from proto_model.serving.http.hosting import Source
    from proto_model.serving.http.served_model import ServedModel

    def folder() -> Path:
        return Path(until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="proto_model-")))

    followed = [Followed.of(uri) if CAN_FOLLOW else None for _, uri in named]
    aliases = [one for one in followed if one is not None]
    board = None
    if aliases:
        board = folder()
        follow_once(board, aliases, trust)
    sources: list[Source] = []
    for (name, uri), alias in zip(named, followed, strict=True):
        if alias is not None:
            place = sum(source.followed is not None for source in sources)
            sources.append(Source(name=name, followed=alias, place=place))
            continue
        local = local_folder(uri)  # which needs no place to write: a container may have none
        if local is None or trust:
            local = trusted_apart(uri, folder(), trust)
        sources.append(Source(ServedModel.load(local), name))
    return sources, board


def _number(kind: type, least: float) -> Callable[[str], float]:
    """Reader of a number that is not less than another."""

    def read(text: str) -> float:
        value = number(text, kind, least)
        if value is None:
            raise argparse.ArgumentTypeError(f"{text!r} given, {expected(kind, least)} expected")
        return value

    return read
