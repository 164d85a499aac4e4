"""The process around the service: logging, address, workers."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mapper.application.files import MAPPING, read_file
from mapper.application.service import Application, Permission, application_of
from mapper.errors import SettingsError
from mapper.http.access import Access, AccessError
from mapper.http.body import JSON
from mapper.http.certificates import Certificates
from mapper.http.connection import Limits
from mapper.http.health import HealthPages, Pulse
from mapper.http.hosts import Hosts
from mapper.http.server import beside, bind, freeze, run, supervise
from mapper.http.settings import OPEN, MapperSettings
from mapper.mapping.interfaces import interfaces_text
from mapper.registry import PublishedModel, VersionFinder, find_model

logger = logging.getLogger(__name__)

BACKLOG = 4096
NO_MAPPING = "none"
# Have the registry asked at once.
ASKS = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()


def run_service(settings: MapperSettings, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; give the exit status.

    Raises MapperError if there is no schema, or the address is in use.
    """
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a closed stderr must not stop the service
    logging._srcfile = None  # no line of the log names the line of code, so it need not be looked for
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for sentence in MapperSettings.misspelt(environ):
        logger.warning(sentence)
    for sentence in interfaces_text():
        logger.warning(sentence)
    logger.info("settings: %s", settings.shown())
    opened, finders = {}, {}
    for name, source in settings.sources().items():
        published = find_model(source, settings.registry_url, environ)
        name = name or published.schema.model_name
        application = open_application(settings, published)
        opened[name] = published, application
        finder = VersionFinder.of(source, settings.registry_url, environ)
        if finder is not None and published.version is not None:
            finders[name] = finder
        _tell(name, published, application)
    if settings.follow and not finders:
        raise SettingsError("--follow: no model is named by an alias, such as models:/proto_model@champion.")
    served = Served(settings, opened, finders)
    _protection_of(settings)
    listener = _listen(settings, settings.port)
    try:
        health = _listen(settings, settings.health_port) if settings.health_port else None
    except SettingsError:
        listener.close()
        raise
    pulse = Pulse(settings.workers)
    if settings.workers == 1:
        _serve(served, (listener, health), pulse)
        return 0
    freeze()
    with listener, tempfile.TemporaryDirectory(prefix="mapper-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by prometheus_client, imported in the workers

        def work(worker: int, supervisor: int) -> None:
            pulse.use(worker)
            at = (beside(listener), None if health is None else beside(health))
            _serve(served, at, pulse, supervisor)

        def ended(pid: int) -> None:
            for gauge in ("livesum", "livemax"):  # what it did, it does no more
                Path(folder, f"gauge_{gauge}_{pid}.db").unlink(missing_ok=True)

        return supervise(work, settings.workers, ended, ASKS if finders else ())


def _protection_of(settings: MapperSettings) -> tuple[Access | None, Certificates | None]:
    try:
        return settings.protection.access(OPEN), settings.protection.certificates()
    except AccessError as error:
        raise SettingsError(str(error)) from error


def _listen(settings: MapperSettings, port: int) -> socket.socket:
    try:
        return bind(settings.host, port, shared=settings.workers > 1)
    except OSError as error:
        option = "--port" if port == settings.port else "--health-port"
        raise refused_address(settings.host, port, error, option) from error


def refused_address(host: str, port: int, error: OSError, option: str) -> SettingsError:
    """The error where the system refuses an address: what is wrong with it, and which option to change."""
    of_host = "Check --host: 127.0.0.1, or 0.0.0.0 for all."
    if error.errno == errno.EADDRINUSE:
        reason = f"the address is in use. Choose another port with {option}, or 0 for a free one."
    elif error.errno == errno.EACCES:
        reason = f"this user may not use the port. Choose one from 1024 with {option}."
    elif isinstance(error, socket.gaierror):
        reason = f"{host!r} is no address of this machine. {of_host}"
    elif error.errno == errno.EADDRNOTAVAIL:
        reason = f"this machine has no such address. {of_host}"
    else:
        reason = f"{error.strerror or error}. Choose another port with {option}."
    shown = f"[{host}]" if ":" in host else host
    return SettingsError(f"Cannot listen on {shown}:{port}: {reason}")


def open_application(settings: MapperSettings, published: PublishedModel) -> Application:
    """How requests are mapped: as the settings say, or as the version has it.

    Raises MappingError if that does not fit the model, SettingsError if it is not allowed or takes no files.
    """
    files = published.files
    if settings.mapping == NO_MAPPING:
        files = {}
    elif settings.mapping:
        files = {MAPPING: read_file(Path(settings.mapping))}
    permission = Permission(settings.model, settings.allow_code, settings.code_digest)
    application = application_of(published.schema, files, permission, published.version, settings.max_rows)
    if application.is_own and (settings.signature or published.signature) == "file":
        raise SettingsError(
            "The model takes files, and an application's mapping does not apply to files. Serve a version "
            f"that takes rows, or start with --mapping {NO_MAPPING}."
        )
    return application


def _tell(name: str, published: PublishedModel, application: Application) -> None:
    """Say what is served."""
    schema = published.schema
    logger.info(
        "model: name=%s version=%s features=%d classes=%d schema_digest=%s",
        name,
        published.version or "-",
        len(schema.features),
        len(schema.classes),
        schema.digest,
    )
    logger.info("mapping: %s", application.text())


@dataclass(frozen=True)
class Served:
    """What a process answers for: models by name, opened, and who finds further versions of them."""

    settings: MapperSettings
    opened: Mapping[str, tuple[PublishedModel, Application]]
    finders: Mapping[str, VersionFinder]


def _serve(
    served: Served,
    listeners: tuple[socket.socket, socket.socket | None],
    pulse: Pulse,
    supervisor: int | None = None,
) -> None:
    """Answer requests until a signal comes, or the supervisor is gone; then end what was begun."""
    from mapper.http.following import Following
    from mapper.http.models import Models
    from mapper.http.service import ALIVE, HEALTH

    settings = served.settings
    models = Models(settings, served.opened)
    listener, health = listeners
    pages = HealthPages(pulse, {HEALTH: (JSON.encode(), ALIVE)}, ("/readyz", "/metrics"))
    beside_it = None if health is None else (pages, health)
    host, port = listener.getsockname()[:2]
    hosts = Hosts(settings.host, host, settings.allowed_hosts.split(","))

    def beat() -> None:
        pulse.beat()
        models.refresh()

    limits = Limits(
        settings.max_connections,
        settings.body_timeout_s,
        settings.drain_s,
        hosts,
        settings.max_bodies_bytes,
        OPEN["health"],
        models.turned_away,
        beat,
        *_protection_of(settings),
        models.gate_of,
    )
    listener.listen(BACKLOG)
    for warning in (hosts.warning, settings.protection.warning(host)):
        if warning:
            logger.warning(warning)
    scheme = "https" if settings.tls_cert else "http"
    logger.info("listening on %s://%s:%d", scheme, f"[{host}]" if ":" in host else host, port)
    if served.finders:

        def open_version(published: PublishedModel) -> tuple[PublishedModel, Application]:
            return published, open_application(settings, published)

        with Following(models, served.finders, open_version, settings.follow) as following:
            for number in ASKS:
                signal.signal(number, following.ask)
            run(models, limits, listener, models.close, supervisor, beside_it)
    else:
        run(models, limits, listener, models.close, supervisor, beside_it)
    logger.info("stopped")
