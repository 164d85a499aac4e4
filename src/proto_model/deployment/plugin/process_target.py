"""Deployments that are processes on this machine: started, replaced and ended, each only by who began it."""

from __future__ import annotations

import dataclasses
import datetime
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proto_model.deployment.plugin.config import PROCESS, trust_of, value_of
from proto_model.deployment.plugin.errors import DeploymentError, DeploymentInputError
from proto_model.deployment.plugin.processes import runs, spawn, stop, tell
from proto_model.deployment.plugin.records import Process, Record, Records
from proto_model.deployment.plugin.servers import (
    chosen_port,
    command_of,
    environment_of,
    page_of,
    url_of,
    wait_until_ready,
)
from proto_model.errors import ProtoModelError
from proto_model.invocation.registered import check_registry
from proto_model.registry.deployed import resolved
from proto_model.registry.model_folder import local_folder
from proto_model.registry.offer import Followed
from proto_model.registry.publishing.trust import KEY_VARIABLE, REQUIRE_VARIABLE

READY, STARTING, STOPPED = "ready", "starting", "stopped"
_GRACE_S = 5.0  # until a process has ended, after it has drained
_PAUSE_S = 0.1


def say(text: str) -> None:
    """Tell whoever called; standard output is MLflow's."""
    print(text, file=sys.stderr, flush=True)


def now() -> str:
    """Time of day, for people."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def place_and_version(model_uri: str) -> tuple[str, str]:
    """URI that means the same in every folder, and the version that it names now, if it is registered."""
    folder = local_folder(model_uri)
    if folder is not None:
        return str(folder.resolve()), ""
    if not model_uri.startswith("models:/") or model_uri.startswith("models:/m-"):
        return model_uri, ""
    check_registry()
    return model_uri, resolved(model_uri).version


def create(records: Records, name: str, model_uri: str, config: Mapping[str, str]) -> Record:
    """Start a server, and return when it is ready; nothing is left of one that is not."""
    model_uri, version = checked(model_uri, config)
    record = Record(name, PROCESS, model_uri, version, now(), config)
    port = chosen_port(config)
    records.log(name).unlink(missing_ok=True)
    return _started(records, record, port, None)


def update(records: Records, record: Record, model_uri: str | None, config: Mapping[str, str]) -> Record:
    """Have the deployment serve another version, or with other options, and say how that was done."""
    model_uri, version = checked(model_uri or record.model_uri, config)
    new = dataclasses.replace(record, model_uri=model_uri, version=version, config=config, created=now())
    _stop(record.further, record)
    old = record.process
    if not runs(old):
        say(f"{record.name}: was stopped, and is started again")
        stopped = dataclasses.replace(record, process=None, further=None)
        port = chosen_port(config)
        return _started(records, dataclasses.replace(new, process=None, further=None), port, stopped)
    assert old is not None
    if _moved_only(record, new):
        say(f"{record.name}: takes over version {version} without a restart (SIGHUP)")
        return _moved(records, new, old)
    if _may_stand_beside(record, config, old):
        say(f"{record.name}: the new server starts beside the old one, which ends when it is ready")
        return _replaced(records, record, new, old)
    say(f"{record.name}: needs the same ports, so the old server ends before the new one starts")
    return _restarted(records, record, new, old)


def delete(records: Records, record: Record) -> None:
    """End what the plugin started, and forget it."""
    for process in (record.further, record.process):
        if not _stop(process, record):
            say(f"{record.name}: process {process.pid if process else ''} did not end in time and was killed")
    records.remove(record.name)


def state(record: Record) -> dict[str, Any]:
    """What a deployment is doing: ready, starting or stopped; and the version that it serves."""
    if record.process is None or not runs(record.process):
        return {"state": STOPPED}
    page = page_of(record.config, record.process.port)
    found: dict[str, Any] = {"state": READY if page is not None else STARTING}
    models = (page or {}).get("models") or [{}]
    if models[0].get("version"):
        found["version"] = models[0]["version"]
    if models[0].get("problem"):
        found["problem"] = f"{models[0]['problem']}: {models[0].get('detail', '')}"
    return found


def url(record: Record) -> str:
    """Where it is asked; empty if it never ran."""
    return url_of(record.config, record.process.port) if record.process else ""


def checked(model_uri: str, config: Mapping[str, str]) -> tuple[str, str]:
    """URI and version of what is to be served, after a look at the options."""
    if config.get("follow") and not Followed.of(model_uri):
        raise DeploymentInputError(
            f"-C follow needs an alias, such as models:/proto_model@champion; {model_uri} names none."
        )
    if config.get("token_file") and not Path(config["token_file"]).is_file():
        raise DeploymentInputError(f"There is no token file {config['token_file']} (-C token_file).")
    if trust_of(config) and value_of(PROCESS, config, "server") == "mlflow":
        raise DeploymentInputError(
            "MLflow's server serves whatever it is given, so it cannot be asked for published versions "
            f"({REQUIRE_VARIABLE}, {KEY_VARIABLE}). Take server=lean or server=mlserver."
        )
    return place_and_version(model_uri)


def _stop(process: Process | None, record: Record) -> bool:
    drain_s = float(value_of(PROCESS, record.config, "drain_timeout_s")) + _GRACE_S
    # MLflow's command hands no signal on to the server that it starts.
    return stop(process, drain_s, whole_session=value_of(PROCESS, record.config, "server") == "mlflow")


def _started(records: Records, record: Record, port: int, fallback: Record | None) -> Record:
    """A record whose process is ready; one that does not get so is ended, and the record is what it was."""
    log = records.log(record.name)
    offset = log.stat().st_size if log.exists() else 0
    command = command_of(record.model_uri, record.config, port, records.build(record.name))
    process = spawn(command, environment_of(), log, port)
    is_ready = False
    try:
        # Before it is ready: `delete` finds it even if this command is killed now.
        begun = (record.process, process) if record.process else (process, None)
        records.write(dataclasses.replace(record, process=begun[0], further=begun[1]))
        page = wait_until_ready(process, record.config, log, offset)
        is_ready = True
    finally:
        if not is_ready:
            _stop(process, record)
            if fallback is None:
                records.forget(record.name)
            else:
                records.write(fallback)
    version = ((page.get("models") or [{}])[0]).get("version") or record.version
    done = dataclasses.replace(record, process=process, further=record.process, version=version)
    records.write(done)
    return done


def _moved_only(record: Record, new: Record) -> bool:
    is_lean = value_of(PROCESS, new.config, "server") == "lean"
    same = (record.model_uri, record.config) == (new.model_uri, new.config)
    return is_lean and same and Followed.of(new.model_uri) is not None


def _moved(records: Records, new: Record, process: Process) -> Record:
    """Have the server ask the registry now, and wait until all workers serve what the alias names."""
    before = _model(new).get("checked")
    tell(process, signal.SIGHUP)
    end = time.monotonic() + float(value_of(PROCESS, new.config, "start_timeout_s"))
    while time.monotonic() < end:
        page = _model(new)
        if page.get("version") == new.version and set(page.get("worker_versions", [])) <= {new.version}:
            done = dataclasses.replace(new, further=None)
            records.write(done)
            return done
        if page.get("checked") != before and page.get("problem"):
            raise DeploymentError(
                f"{new.name} goes on with version {page.get('version')}: {page.get('detail')} "
                "Update it with -m and a version to replace the server."
            )
        if not runs(process):
            break
        time.sleep(_PAUSE_S)
    raise DeploymentError(f"{new.name} did not take over version {new.version}. See {records.log(new.name)}.")


def _model(record: Record) -> dict[str, Any]:
    page = page_of(record.config, record.process.port) if record.process else None
    models = (page or {}).get("models") or [{}]
    return dict(models[0])


def _may_stand_beside(record: Record, config: Mapping[str, str], old: Process) -> bool:
    """Whether the new server needs none of the old one's ports."""
    health = config.get("health_port")
    same_health = health is not None and health in (record.config.get("health_port"), str(old.port))
    servers = [value_of(PROCESS, one, "server") for one in (record.config, config)]
    both_mlserver = servers == ["mlserver", "mlserver"]  # which has more ports, for gRPC and metrics
    return int(value_of(PROCESS, config, "port")) != old.port and not same_health and not both_mlserver


def _replaced(records: Records, record: Record, new: Record, old: Process) -> Record:
    """Start the new server; the old one ends when that is ready, and stays when it does not get so."""
    fallback = dataclasses.replace(record, further=None)
    beside = dataclasses.replace(new, process=old, further=None)
    try:
        done = _started(records, beside, chosen_port(new.config), fallback)
    except ProtoModelError as error:
        raise DeploymentError(f"{new.name} goes on as it was. {error}") from error
    _stop(old, record)
    done = dataclasses.replace(done, further=None)
    records.write(done)
    return done


def _restarted(records: Records, record: Record, new: Record, old: Process) -> Record:
    """End the old server and start the new one; start the old one again if that does not get ready."""
    _stop(old, record)
    stopped = dataclasses.replace(record, process=None, further=None)
    begun = dataclasses.replace(new, process=None, further=None)
    try:
        return _started(records, begun, chosen_port(new.config), stopped)
    except ProtoModelError as error:
        try:
            _started(records, stopped, chosen_port(record.config), stopped)
        except ProtoModelError as again:
            raise DeploymentError(f"{error}\nThe server of before does not start either: {again}") from again
        raise DeploymentError(f"{record.name} runs as before, started again. {error}") from error
