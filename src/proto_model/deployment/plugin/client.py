"""MLflow's interface to deployments, in front of the targets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
)

from proto_model.deployment.plugin import file_targets, process_target
from proto_model.deployment.plugin.asking import ask
from proto_model.deployment.plugin.config import PROCESS, PROTOCOL, kind_of, read_config
from proto_model.deployment.plugin.errors import (
    DeploymentError,
    DeploymentExistsError,
    DeploymentInputError,
    NoDeploymentError,
)
from proto_model.deployment.plugin.help import help_text
from proto_model.deployment.plugin.records import Record, Records
from proto_model.deployment.plugin.servers import chosen_port, command_of, environment_of
from proto_model.errors import InputError, ProtoModelError, RegistryError
from proto_model.registry.tracking import without_credentials

FLAVOR = "python_function"
_CODES = {
    DeploymentExistsError: RESOURCE_ALREADY_EXISTS,
    NoDeploymentError: RESOURCE_DOES_NOT_EXIST,
    RegistryError: RESOURCE_DOES_NOT_EXIST,
    DeploymentInputError: INVALID_PARAMETER_VALUE,
    InputError: INVALID_PARAMETER_VALUE,
}


class ProtoModelDeploymentClient(BaseDeploymentClient):
    """Deployments of models of proto_model; `mlflow deployments help -t proto-model` has the options.

    Parameters
    ----------
    target_uri : str
        `proto-model`, `proto-model:process`, `proto-model:image` or `proto-model:kubernetes`.
    """

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)  # type: ignore[no-untyped-call]  # mlflow's
        with _mlflow_errors():
            self._kind = kind_of(target_uri)
        self._records = Records(os.environ)

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Start a server and wait until it is ready, or write the files; what `get_deployment` says of it."""
        with _mlflow_errors():
            _check(flavor, endpoint)
            read = read_config(self._kind, config, {})
            with self._records.locked(name):
                before = self._records.find(name)
                if before is not None:
                    raise DeploymentExistsError(
                        f"There is a deployment {name!r} already ({_described(before)['state']}). Update or "
                        "delete it, or give another name."
                    )
                if self._kind == PROCESS:
                    record = process_target.create(self._records, name, model_uri, read)
                else:
                    record = file_targets.write(self._kind, name, model_uri, read)
                    self._records.write(record)
            return _described(record, self._records)

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Serve another version, or with other options; options that are not given stay."""
        with _mlflow_errors():
            _check(flavor, endpoint)
            with self._records.locked(name):
                record = self._own(name)
                read = read_config(self._kind, config, record.config)
                if self._kind == PROCESS:
                    record = process_target.update(self._records, record, model_uri, read)
                else:
                    record = file_targets.write(self._kind, name, model_uri or record.model_uri, read)
                    self._records.write(record)
            return _described(record, self._records)

    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """End the server, and forget the deployment; nothing happens if there is none. Files stay."""
        with _mlflow_errors():
            _check(None, endpoint)
            if config:
                raise DeploymentInputError("delete takes no options. Leave -C out.")
            with self._records.locked(name):
                if self._records.find(name) is not None:
                    process_target.delete(self._records, self._own(name))

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """All deployments of this user; those of one kind if the target names it."""
        with _mlflow_errors():
            _check(None, endpoint)
            records = self._records.all()
            return [
                _described(record, self._records)
                for record in records
                if self.target_uri == PROTOCOL or record.target == self._kind
            ]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """What a deployment serves, where, and whether it is ready, starting, stopped or written."""
        with _mlflow_errors():
            _check(None, endpoint)
            return _described(self._records.get(name), self._records)

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """Predictions for rows: a data frame, a record, a list of records, or a body of `/invocations`."""
        with _mlflow_errors():
            _check(None, endpoint)
            return PredictionsResponse(ask(self._url(deployment_name), inputs, explain=False))

    def explain(
        self, deployment_name: str | None = None, df: Any = None, endpoint: str | None = None
    ) -> list[dict[str, Any]]:
        """An explanation per row: rule, counterfactuals and notes, as docs/explanations.md has them."""
        with _mlflow_errors():
            _check(None, endpoint)
            rows = ask(self._url(deployment_name), df, explain=True)["predictions"]
            if not all("explanation" in row for row in rows):
                raise DeploymentError(f"{deployment_name} does not explain: it answers with no explanation.")
            return [row["explanation"] for row in rows]

    def create_endpoint(self, name: str, config: Mapping[str, Any] | None = None) -> NoReturn:
        """Raise: there are no endpoints."""
        _no_endpoints()

    def update_endpoint(self, endpoint: str, config: Mapping[str, Any] | None = None) -> NoReturn:
        """Raise: there are no endpoints."""
        _no_endpoints()

    def delete_endpoint(self, endpoint: str) -> NoReturn:
        """Raise: there are no endpoints."""
        _no_endpoints()

    def list_endpoints(self) -> NoReturn:
        """Raise: there are no endpoints."""
        _no_endpoints()

    def get_endpoint(self, endpoint: str) -> NoReturn:
        """Raise: there are no endpoints."""
        _no_endpoints()

    def _own(self, name: str) -> Record:
        """A record of this target."""
        record = self._records.get(name)
        if record.target != self._kind:
            raise DeploymentInputError(
                f"{name!r} is a deployment of {PROTOCOL}:{record.target}. Give -t {PROTOCOL}:{record.target}."
            )
        return record

    def _url(self, name: str | None) -> str:
        """Where a running deployment is asked."""
        record = self._records.get(name or "")
        if record.target != PROCESS:
            raise DeploymentError(
                f"{name!r} is written to {record.result.get('out')}, and answers nothing. Where it runs, "
                "ask it with `python -m proto_model invoke --url URL`."
            )
        state = process_target.state(record)["state"]
        if state == process_target.STOPPED:
            raise DeploymentError(f"{name!r} is stopped. `mlflow deployments update` starts it again.")
        return process_target.url(record)


def run_local(
    name: str,
    model_uri: str,
    flavor: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Serve a model in the foreground, with the options of `proto-model:process`; no record is kept."""
    with _mlflow_errors():
        _check(flavor, None)
        read = read_config(PROCESS, config, {})
        place, _ = process_target.checked(model_uri, read)
        port = chosen_port(read)
        records = Records(os.environ)
        process_target.say(f"{name}: http://{read.get('host', '127.0.0.1')}:{port}, until Ctrl+C")
        command = command_of(place, read, port, records.build(name))
        with subprocess.Popen(command, env=environment_of(), stdin=subprocess.DEVNULL) as server:
            try:
                code = server.wait()
            except KeyboardInterrupt:  # the server, of the same terminal, had it as well
                code = server.wait() and 0
        if code != 0:
            raise DeploymentError(f"The server of {name!r} ended with {code}; it says why above.")


def target_help() -> str:
    """Targets, options and examples."""
    return help_text()


def _described(record: Record, records: Records | None = None) -> dict[str, Any]:
    """A deployment as MLflow's commands print it."""
    found: dict[str, Any] = {
        "name": record.name,
        "flavor": FLAVOR,
        "target": f"{PROTOCOL}:{record.target}",
        "model_uri": without_credentials(record.model_uri),
        "version": record.version,
        "state": file_targets.WRITTEN,
        "created": record.created,
        "config": dict(record.config),
        **record.result,
    }
    if record.target == PROCESS:
        found |= process_target.state(record)
        found |= {"url": process_target.url(record), "pid": record.process.pid if record.process else None}
        if records is not None:
            found["log"] = str(records.log(record.name))
    return found


def _check(flavor: str | None, endpoint: str | None) -> None:
    if flavor not in (None, FLAVOR):
        raise DeploymentInputError(f"Flavor {flavor!r} given, {FLAVOR} expected. Leave -f out.")
    if endpoint is not None:
        _no_endpoints()


def _no_endpoints() -> NoReturn:
    raise MlflowException(
        f"{PROTOCOL} has no endpoints: each deployment has an address of its own. Leave --endpoint out.",
        INVALID_PARAMETER_VALUE,
    )


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    """Errors of this package as MLflow's, which its commands and callers expect."""
    try:
        yield
    except ProtoModelError as error:
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), INTERNAL_ERROR)
        raise MlflowException(str(error), code) from error
