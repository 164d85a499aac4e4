"""Whom the command line asks: a running mapper service, or a model server through the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import orjson

from mapper.errors import (
    Finding,
    InvalidRequestError,
    MapperError,
    ModelServerDownError,
    ModelServerTimeoutError,
)
from mapper.mapping.interfaces import TangoModel
from mapper.mapping.model import TabularModel
from mapper.mapping.schema import ModelSchema
from mapper.model_server.proxy import HttpClient, ModelServerProxy, Reply
from mapper.registry import PublishedModel

__all__ = ["ModelServerTarget", "ServiceTarget", "Target"]

Records = list[dict[str, Any]]


class Target(Protocol):
    """Answers chunks of rows."""

    @property
    def schema(self) -> ModelSchema:
        """The model schema, to read rows by."""

    def ask(
        self, command: str, records: Records, parameters: dict[str, Any], first_row: int
    ) -> dict[str, Any]:
        """The mapper's answer; rows in warnings and faults are counted from `first_row`."""

    def ask_file(self, command: str, request: dict[str, Any]) -> dict[str, Any]:
        """The mapper's answer to a request for one file (`file`, `parameters`, `session`)."""

    def close(self) -> None:
        """End the connection."""


class ServiceTarget:
    """A running mapper service."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._client = HttpClient(url, {"Content-Type": "application/json"}, timeout_s)
        self._timeout_s = timeout_s
        self._schema: ModelSchema | None = None

    @property
    def schema(self) -> ModelSchema:
        """The schema that the service has; asked for once."""
        if self._schema is None:
            reply = self._request("GET", "/v1/schema", None)
            if reply.status != 200:
                raise MapperError(
                    f"{self._client.url} answered {reply.status} to /v1/schema. Is it a mapper?"
                )
            self._schema = ModelSchema.from_json(reply.body)
        return self._schema

    def ask(
        self, command: str, records: Records, parameters: dict[str, Any], first_row: int
    ) -> dict[str, Any]:
        """The service's answer; raises InvalidRequestError, or MapperError for any other problem."""
        request = {"data": records, **({"parameters": parameters} if parameters else {})}
        with _counted_from(first_row):
            return _shifted_warnings(self._answer(command, request, may_repeat=True), first_row)

    def ask_file(self, command: str, request: dict[str, Any]) -> dict[str, Any]:
        """The service's answer; raises as `ask` does."""
        self.close()  # an idle connection may have ended meanwhile, and a file job is not sent twice
        return self._answer(command, request, may_repeat=False)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _answer(self, command: str, request: dict[str, Any], *, may_repeat: bool) -> dict[str, Any]:
        reply = self._request("POST", f"/v1/{command}", orjson.dumps(request), may_repeat=may_repeat)
        try:
            content: dict[str, Any] = orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise MapperError(f"{self._client.url} did not answer in JSON. Is it a mapper?") from error
        if reply.status == 200:
            return content
        detail = content.get("detail", f"status {reply.status}")
        if "errors" in content:
            faults = [
                Finding(f["kind"], f["message"], f.get("row"), f.get("field")) for f in content["errors"]
            ]
            raise InvalidRequestError(detail, faults, content["error_count"])
        raise MapperError(f"{content.get('title', 'Problem')} ({reply.status}): {detail}")

    def _request(self, method: str, path: str, body: bytes | None, *, may_repeat: bool = False) -> Reply:
        url = self._client.url
        try:
            try:
                return self._client.request(method, path, body)
            except ConnectionError:  # the service ends connections that are idle for long: rows come slowly
                if not may_repeat:
                    raise
                return self._client.request(method, path, body)
        except TimeoutError as error:
            raise ModelServerTimeoutError(f"{url} did not answer within {self._timeout_s:g} s.") from error
        except OSError as error:
            raise ModelServerDownError(
                f"No mapper service at {url}. Start one with `python -m mapper serve`, or give --url."
            ) from error


class ModelServerTarget:
    """A model server, asked through the library, that serves a published version."""

    def __init__(self, url: str, published: PublishedModel, timeout_s: float) -> None:
        self._proxy = ModelServerProxy(url, timeout_s)
        self._model = TabularModel(published.schema, published.version)
        self._takes = published.signature

    @property
    def schema(self) -> ModelSchema:
        """The schema of the model."""
        return self._model.schema

    def ask(
        self, command: str, records: Records, parameters: dict[str, Any], first_row: int
    ) -> dict[str, Any]:
        """The mapped answer; raises as the library's calls do."""
        with _counted_from(first_row):
            answer = self._answer(command, {"data": records, "parameters": parameters})
            return _shifted_warnings(answer, first_row)

    def ask_file(self, command: str, request: dict[str, Any]) -> dict[str, Any]:
        """The mapped answer; raises as the library's calls do."""
        if self._takes == "rows":
            raise InvalidRequestError(
                "The model takes rows, not files. Use a version that was trained with file_management=true."
            )
        self.close()  # an idle connection may have ended meanwhile, and a file job is not sent twice
        return self._answer(command, request)

    def _answer(self, command: str, request: dict[str, Any]) -> dict[str, Any]:
        model: TangoModel = self._model if command == "predict" else self._model.get_explainer()
        return dict(model.map_response(self._proxy.invoke(command, model.map_request(request))))

    def close(self) -> None:
        """End the connection."""
        self._proxy.close()


@contextmanager
def _counted_from(first_row: int) -> Iterator[None]:
    """Faults of a chunk get rows counted from the start of the data."""
    try:
        yield
    except InvalidRequestError as error:
        faults = [f if f.row is None else dataclasses.replace(f, row=f.row + first_row) for f in error.errors]
        raise InvalidRequestError(error.message, faults, error.error_count) from error


def _shifted_warnings(answer: dict[str, Any], first_row: int) -> dict[str, Any]:
    """The answer, its warnings' rows counted from the start of the data."""
    for warning in answer["warnings"]:
        warning["row"] = warning.get("row", 0) + first_row
    return answer
