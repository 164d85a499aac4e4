"""Whom the command line asks: a running mapper service, or a model server through the library."""

from __future__ import annotations

from typing import Any

import orjson

from mapper import errors
from mapper.application.service import Permission, application_of
from mapper.errors import Finding
from mapper.mapping.schema import ModelSchema
from mapper.model_server.login import Login
from mapper.model_server.proxy import HttpClient, ModelServerProxy, Reply
from mapper.registry import PublishedModel

NO_FILES = "The model takes rows, not files. Use a version that was trained with file_management=true."


class ServiceTarget:
    """A running mapper service."""

    def __init__(self, url: str, timeout_s: float, login: Login | None = None) -> None:
        login = login or Login()
        headers = {"Content-Type": "application/json", **login.headers(url)}
        self._client = HttpClient(url, headers, timeout_s, login.context(url))
        self._timeout_s = timeout_s
        self._schema: ModelSchema | None = None
        self.document: dict[str, Any] = {}

    @property
    def schema(self) -> ModelSchema | None:
        """What the service takes, asked for once; None if an application's class says it in another form."""
        if self._schema is None:
            reply = self._request("GET", "/v1/schema", None, may_repeat=False)
            if reply.status != 200:
                raise self._no_mapper(f"answered {reply.status} to /v1/schema")
            self.document = orjson.loads(reply.body)
            if "record" in self.document:
                return None
            self._schema = ModelSchema.from_json(reply.body)
        return self._schema

    def ask(self, command: str, request: dict[str, Any]) -> dict[str, Any]:
        """The service's answer; a file job is sent only once."""
        body, may_repeat = orjson.dumps(request), "file" not in request
        reply = self._request("POST", f"/v1/{command}", body, may_repeat=may_repeat)
        try:
            content: dict[str, Any] = orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise self._no_mapper("did not answer in JSON") from error
        if reply.status == 200:
            return content
        if "title" not in content:  # which every problem of a mapper has
            raise self._no_mapper(f"answered {reply.status} to /v1/{command}")
        detail = content.get("detail", f"status {reply.status}")
        if "errors" in content:
            raise errors.InvalidRequestError(
                detail, [Finding(**fault) for fault in content["errors"]], content["error_count"]
            )
        raise errors.MapperError(f"{content.get('title', 'Problem')} ({reply.status}): {detail}")

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _no_mapper(self, did: str) -> errors.SettingsError:
        url = self._client.url
        return errors.SettingsError(
            f"{url} {did}, so it is no mapper service. If it is a model server, give it with "
            "--model-server-url, and --schema."
        )

    def _request(self, method: str, path: str, body: bytes | None, *, may_repeat: bool) -> Reply:
        url = self._client.url
        try:
            return self._client.request(method, path, body, may_repeat=may_repeat)
        except TimeoutError as error:
            raise errors.ModelServerTimeoutError(
                f"{url} did not answer within {self._timeout_s:g} s."
            ) from error
        except OSError as error:
            raise errors.ModelServerDownError(
                f"No mapper service at {url}. Start one with `python -m mapper serve`, or give --url."
            ) from error


class ModelServerTarget:
    """A model server, asked through the library, that serves a published version."""

    def __init__(
        self, url: str, published: PublishedModel, timeout_s: float, login: Login | None = None
    ) -> None:
        login = login or Login()
        self._proxy = ModelServerProxy(url, timeout_s, login.headers(url), login.context(url))
        self._model = application_of(published.schema, published.files, Permission(), published.version).model
        self._takes_rows = published.signature == "rows"

    @property
    def schema(self) -> ModelSchema:
        """The schema of the model."""
        return self._model.schema

    def ask(self, command: str, request: dict[str, Any]) -> dict[str, Any]:
        """The mapped answer; a file job is sent only once."""
        if "file" in request and self._takes_rows:
            raise errors.InvalidRequestError(NO_FILES)
        model = self._model if command == "predict" else self._model.get_explainer()
        return dict(model.map_response(self._proxy.invoke(command, model.map_request(request))))

    def close(self) -> None:
        """End the connection."""
        self._proxy.close()


Target = ServiceTarget | ModelServerTarget
