"""What an operator can change, read once at start-up: MAPPER_* variables, and flags, which win."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from mapper.errors import SettingsError
from mapper.http.certificates import Protection
from mapper.http.renderer import RENDERER_PARTS
from mapper.model_server.client import Limits
from mapper.model_server.proxy import shown_url
from mapper.registry import check_registry_url, shown_registry

PREFIX = "MAPPER_"
SOURCE = re.compile(r"(?:^|(?<=,))([A-Za-z0-9][A-Za-z0-9._-]*)=")
# What can be left open where tokens are needed.
PAGE_PARTS = (
    *("app.js", "access.js", "answer.js", "bands.js", "batch.js", "compare.js", "docs.js", "dom.js"),
    *("fields.js", "options.js", "samples.js", "share.js", "texts.js", "words.js"),
    "style.css",
)
OPEN = {
    "health": ("/healthz", "/readyz"),
    "metrics": ("/metrics",),
    "docs": (
        "/",
        "/docs",
        "/openapi.json",
        "/v1/schema",
        "/v1/models",
        *(f"/page/{name}" for name in (*PAGE_PARTS, *RENDERER_PARTS)),
    ),
}
URLS: dict[str, Callable[[str], object]] = {
    "model_server_url": shown_url,
    "explainer_url": shown_url,
    "registry_url": check_registry_url,
}


TRUTHS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off", ""), False
)


def _setting(
    default: Any, text: str, *, may_be_0: bool = False, choices: tuple[str, ...] = (), flag: str = ""
) -> Any:
    rules = {"help": text, "may_be_0": may_be_0, "choices": choices, "flag": flag}
    return field(default=default, metadata=rules)


@dataclass(frozen=True)
class MapperSettings:
    """Settings of the service; the help of each is what `python -m mapper serve --help` prints."""

    model_server_url: str = _setting("http://127.0.0.1:5001", "where the model server listens")
    schema: str = _setting(
        "models:/proto_model@champion",
        "path of a schema.json or model folder, or a model in the registry "
        "(models:/name@alias, models:/name/3, runs:/id/model); give it several times as NAME=SOURCE for "
        "several models, each at /models/NAME (in the variable, separated by commas)",
    )
    follow: float = _setting(
        0.0,
        "ask the registry at this interval, and switch to the version that an alias has moved to; with 0, "
        "only SIGHUP asks",
        may_be_0=True,
    )
    explainer_url: str = _setting("", "where explanations come from (default: the model server)")
    registry_url: str = _setting(
        "",
        "MLflow server with the registry, or sqlite:/// URI of its store (default: MLFLOW_TRACKING_URI, or "
        "mlflow.db in this folder)",
    )
    signature: str = _setting(
        "",
        "what the model takes: rows or file (default: what the registry says, or either)",
        choices=("", "rows", "file"),
    )
    mapping: str = _setting(
        "",
        "path of a mapping.yaml, or none to serve the model as it is (default: the version's, if it has one)",
    )
    model: str = _setting(
        "",
        "installed class to map with instead of a mapping.yaml, package.module:Class (default: none)",
        flag="--mapper-model",
    )
    allow_code: bool = _setting(
        False, "run the code that the version carries in its mapper/", flag="--allow-mapper-code"
    )
    code_digest: str = _setting(
        "", "run only code with this SHA-256 (default: any that is allowed)", flag="--mapper-code-digest"
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8080, "port to listen on", may_be_0=True)
    health_port: int = _setting(
        0,
        "another port, for health and metrics only, which answers even when the first one is busy "
        "(default: none)",
        may_be_0=True,
    )
    token_file: str = _setting(
        "", "file with a line `name: token` for each client (default: none, no client needs a token)"
    )
    open: str = _setting("health", "what needs no token: health, metrics, docs, separated by commas, or none")
    tls_cert: str = _setting(
        "", "PEM file with the certificate chain: the mapper speaks HTTPS (default: none)"
    )
    tls_key: str = _setting("", "PEM file with its key (default: in the same file)")
    tls_client_ca: str = _setting(
        "", "PEM file with the authority whose certificates clients must have (default: none)"
    )
    model_token_file: str = _setting("", "file with the token that the model server asks for (default: none)")
    model_ca_file: str = _setting(
        "", "PEM file with the authority of the model server's certificate (default: the system's)"
    )
    model_cert_file: str = _setting(
        "", "PEM file with a certificate for the model server, if it asks for one (default: none)"
    )
    model_key_file: str = _setting("", "PEM file with its key (default: in the same file)")
    allowed_hosts: str = _setting(
        "",
        "further names that clients may use, separated by commas; *.example.com for all names below one, * "
        "for any (default: none)",
    )
    workers: int = _setting(1, "number of processes")
    max_connections: int = _setting(
        4096,
        "client connections in use at once in each process; more wait (each takes a file descriptor)",
    )
    max_body_bytes: int = _setting(16 * 1024 * 1024, "largest body of a request")
    max_bodies_bytes: int = _setting(
        256 * 1024 * 1024,
        "bytes of all bodies above 64 KiB in memory at once in each process; more get a 503",
    )
    max_rows: int = _setting(10_000, "most rows in a request")
    body_timeout_s: float = _setting(30.0, "longest time for a request to arrive")
    connect_timeout_s: float = _setting(2.0, "longest wait for a connection to the model server")
    predict_timeout_s: float = _setting(30.0, "longest wait for predictions")
    explain_timeout_s: float = _setting(120.0, "longest wait for explanations")
    file_timeout_s: float = _setting(3600.0, "longest wait for a file job")
    max_concurrent: int = _setting(64, "requests of each kind sent to the model server at once")
    max_waiting: int = _setting(256, "requests of each kind that may wait; any more get a 503", may_be_0=True)
    drain_s: float = _setting(30.0, "how long shutdown waits for running requests", may_be_0=True)
    log_level: str = _setting(
        "info", "debug, info, warning or error", choices=("debug", "info", "warning", "error")
    )

    @classmethod
    def load(cls, environ: Mapping[str, str], flags: Mapping[str, Any]) -> MapperSettings:
        """Settings from flags (None where one was not given), variables and defaults, in this order.

        Raises SettingsError, which names every invalid value.
        """
        values: dict[str, Any] = {}
        faults = []
        for setting in dataclasses.fields(cls):
            name, variable = setting.name, PREFIX + setting.name.upper()
            convert: Callable[[str], Any] = type(setting.default)
            if convert is bool:
                convert = _truth
            if flags.get(name) is not None:
                values[name] = flags[name]
            elif variable in environ:
                try:
                    values[name] = convert(environ[variable])
                except ValueError:
                    kinds = {int: "a whole number", float: "a number", bool: "true or false"}
                    kind = kinds[type(setting.default)]
                    faults.append(f"{variable}={environ[variable]!r} given, {kind} expected.")
        settings = cls(**values)
        faults += settings._faults()
        if faults:
            raise SettingsError(" ".join(faults))
        return settings

    def _faults(self) -> list[str]:
        faults = []
        for setting in dataclasses.fields(self):
            value, rules = getattr(self, setting.name), setting.metadata
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and not (value > 0 or (value == 0 and rules["may_be_0"])):
                least = "at least" if rules["may_be_0"] else "more than"
                faults.append(f"{setting.name} is {value}; it must be {least} 0.")
            if rules["choices"] and value not in rules["choices"]:
                listed = ", ".join(filter(None, rules["choices"]))
                faults.append(f"{setting.name} is {value!r}; it must be one of {listed}.")
        for name in ("port", "health_port"):
            if getattr(self, name) > 65535:
                faults.append(f"{name} is {getattr(self, name)}; a port is at most 65535.")
        for name, check in URLS.items():
            try:
                if getattr(self, name):
                    check(getattr(self, name))
            except SettingsError as error:
                faults.append(f"{name}: {error}")
        return faults

    def sources(self) -> dict[str, str]:
        """Where each model comes from, by its name; a single one may have none."""
        named = SOURCE.split(self.schema) if SOURCE.match(self.schema) else ["", "", self.schema]
        names, sources = named[1::2], [source.rstrip(",") for source in named[2::2]]
        if len(set(names)) < len(names):
            raise SettingsError("schema: a name is given twice.")
        return dict(zip(names, sources, strict=True))

    @property
    def protection(self) -> Protection:
        """Who may ask, and how."""
        return Protection(**{item.name: getattr(self, item.name) for item in dataclasses.fields(Protection)})

    @property
    def limits(self) -> Limits:
        """Times and numbers of the model server's client."""
        names = [limit.name for limit in dataclasses.fields(Limits) if hasattr(self, limit.name)]
        return Limits(**{name: getattr(self, name) for name in names})

    def shown(self) -> str:
        """Settings as the log shows them, without user names, passwords and queries of URLs."""
        values = dataclasses.asdict(self)
        for name in URLS:
            shown = shown_registry if name == "registry_url" else shown_url
            values[name] = shown(values[name]) if values[name] else ""
        return " ".join(f"{name}={value}" for name, value in values.items())

    @classmethod
    def misspelt(cls, environ: Mapping[str, str]) -> list[str]:
        """A sentence for each MAPPER_* variable that is no setting."""
        known = [PREFIX + setting.name.upper() for setting in dataclasses.fields(cls)]
        sentences = []
        for name in sorted(environ):
            if name.startswith(PREFIX) and name not in known:
                near = get_close_matches(name, known, 1)
                hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known)}."
                sentences.append(f"{name} is not a setting and has no effect.{hint}")
        return sentences


def _truth(text: str) -> bool:
    try:
        return TRUTHS[text.strip().lower()]
    except KeyError as error:
        raise ValueError(text) from error
