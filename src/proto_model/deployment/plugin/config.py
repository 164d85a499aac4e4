"""Options of `-C NAME=VALUE`: which there are for a target, what they may be, and what they do."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.addresses import MAX_PORT
from proto_model.deployment.plugin.errors import DeploymentInputError
from proto_model.registry.publishing.trust import Trust
from proto_model.serving.http.settings import NUMBERS, ServerSettings, expected, number

PROCESS, IMAGE, KUBERNETES = "process", "image", "kubernetes"
KINDS = (PROCESS, IMAGE, KUBERNETES)
PROTOCOL = "proto-model"

_FLAGS = {"true": "true", "1": "true", "yes": "true", "false": "", "0": "", "no": ""}


@dataclass(frozen=True)
class Option:
    """One option: its default, what it does, and a reader that raises ValueError with what is expected."""

    default: str
    summary: str
    read: Callable[[str], str] = str
    servers: tuple[str, ...] = ()  # those that have it; all, if none are named
    is_server: bool = False  # handed to the server's command line


def _of_number(kind: type, least: float, most: float = float("inf")) -> Callable[[str], str]:
    def read(text: str) -> str:
        value = number(text, kind, least)
        if value is None or value > most:
            raise ValueError(expected(kind, least) + ("" if most == float("inf") else f" to {most:g}"))
        return text.strip()

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return read


def _flag(text: str) -> str:
    if text.lower() not in _FLAGS:
        raise ValueError("true or false")
    return _FLAGS[text.lower()]


def _path(text: str) -> str:
    """The same from every folder."""
    return str(Path(text).absolute())


def _paths(text: str) -> str:
    """The same of several files, which are separated as in PATH."""
    return os.pathsep.join(map(_path, filter(None, text.split(os.pathsep))))


def trust_of(config: Mapping[str, str]) -> Trust:
    """What the options, or their variables, ask of a version; PublicationError if a key cannot be used."""
    keys = list(filter(None, config.get("verify_key", "").split(os.pathsep)))
    return Trust.asked(bool(config.get("require_published")), keys, os.environ)


_PORT = _of_number(int, 0, MAX_PORT)
_LEAN = ServerSettings()
_ONLY_LEAN, _OURS = ("lean",), ("lean", "mlserver")


def _trust(servers: tuple[str, ...] = ()) -> dict[str, Option]:
    flag = "true takes no version but a published one whose files are unchanged"
    key = f"PEM file of a key that must have signed the version; several with {os.pathsep!r} between them"
    return {
        "require_published": Option("", flag, _flag, servers, True),
        "verify_key": Option("", key, _paths, servers, True),
    }


_PROCESS: dict[str, Option] = {
    "server": Option("lean", "lean, mlserver or mlflow", _one_of("lean", "mlserver", "mlflow")),
    "port": Option(str(_LEAN.port), "0 takes a free one, and another one at each update", _PORT),
    "host": Option(_LEAN.host, "address to listen on"),
    "start_timeout_s": Option("120", "seconds until it must be ready", _of_number(float, 1)),
    **_trust(_OURS),
    "follow": Option("", "seconds between looks at the alias", _of_number(float, 0.1), _ONLY_LEAN, True),
    "health_port": Option(
        "", "further port for health and metrics", _of_number(int, 1, MAX_PORT), _ONLY_LEAN, True
    ),
    "token_file": Option("", "file of tokens; PROTO_MODEL_TOKEN asks with one", _path, _ONLY_LEAN, True),
    "allowed_hosts": Option("", "further names that clients may use", str, _ONLY_LEAN, True),
    "access_log": Option("", "true writes a line per request", _flag, _ONLY_LEAN, True),
    **{
        name: Option(str(getattr(_LEAN, name)), summary, _of_number(kind, least), _ONLY_LEAN, True)
        for name, (kind, least, summary) in NUMBERS.items()
    },
}

OPTIONS: dict[str, dict[str, Option]] = {
    PROCESS: _PROCESS,
    IMAGE: {
        "out": Option("", "file to write (needed)"),
        "tag": Option("", "NAME:TAG of the image"),
        "server": Option(
            "lean", "lean, mlserver, mlflow or mapper", _one_of("lean", "mlserver", "mlflow", "mapper")
        ),
        "arch": Option("", "amd64 or arm64; this machine's if it is not given", _one_of("amd64", "arm64")),
        "mirror": Option("", "mirror of Debian's packages"),
        **_trust(),
    },
    KUBERNETES: {
        "out": Option("", "folder to write (needed)"),
        "image": Option("", "the model server's image, NAME:TAG or NAME@sha256:... (needed)"),
        "mapper_image": Option("", "the mapper's image (needed)"),
        "environment": Option("staging", "overlay to start from, such as staging or production"),
        "replicas": Option("", "least number of pods of each service", _of_number(int, 1)),
        "manifests": Option("deploy/kubernetes", "folder with base and overlays"),
    },
}


def kind_of(target_uri: str) -> str:
    """What a target makes; a DeploymentInputError says that there is no such target."""
    protocol, _, kind = target_uri.partition(":")
    kind = kind.strip("/") or PROCESS
    if protocol != PROTOCOL or kind not in KINDS:
        known = [f"{PROTOCOL}:{one}" for one in KINDS]
        raise DeploymentInputError(
            f"There is no target {target_uri}.{_meant(target_uri, known)} Known are: {PROTOCOL}, "
            f"{', '.join(known)}."
        )
    return kind


def read_config(kind: str, given: Mapping[str, Any] | None, before: Mapping[str, str]) -> dict[str, str]:
    """Options in force: those of before, and on top those given; an empty text takes one back."""
    options = OPTIONS[kind]
    config = dict(before)
    for name, value in (given or {}).items():
        if name not in options:
            raise DeploymentInputError(
                f"{PROTOCOL}:{kind} has no option {name!r}.{_meant(name, options)} Known are: "
                f"{', '.join(options)}."
            )
        text = str(value)
        try:
            config[name] = options[name].read(text) if text else ""
        except ValueError as error:
            raise DeploymentInputError(f"-C {name}={text}: {error} expected.") from error
    config = {name: text for name, text in config.items() if text}
    server = config.get("server", "lean")
    for name in config:
        servers = options[name].servers
        if servers and server not in servers:
            has = [name for name, option in options.items() if not option.servers or server in option.servers]
            raise DeploymentInputError(
                f"-C {name} is an option of server={' and server='.join(servers)}; server={server} has: "
                f"{', '.join(has)}."
            )
    return config


def value_of(kind: str, config: Mapping[str, str], name: str) -> str:
    """An option that is given, or its default."""
    return config.get(name) or OPTIONS[kind][name].default


def _meant(name: str, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""
