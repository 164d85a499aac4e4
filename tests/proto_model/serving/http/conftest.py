"""The forest of `mixed_pipeline` behind the app, called without a socket, and behind MLflow's own code."""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from proto_model.model import Bundle, Predictor, write_bundle
from proto_model.parameters import Parameters
from proto_model.registry.logged_model import CODE, example_rows, save_model
from proto_model.registry.signature import rows_signature
from proto_model.serving.http import ServedModel
from proto_model.serving.http.app import App
from proto_model.serving.http.hosting import Hosted, Hosting, Source
from proto_model.serving.http.metrics import Metrics
from proto_model.serving.http.settings import ServerSettings
from proto_model.table import TrainingData, encode


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def request(
    app: App,
    method: str,
    path: str,
    body: bytes | list[bytes] = b"",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Reply:
    """Reply of the app; a body that is a list arrives in pieces, and does not end if the last one is None.

    `more` goes into the scope.
    """
    parts = body if isinstance(body, list) else [body]
    messages = [
        {"type": "http.request", "body": part, "more_body": place < len(parts) - 1}
        for place, part in enumerate(parts)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        message = messages.pop(0)
        if message["body"] is None:
            await asyncio.Event().wait()
        return message

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        **more,
    }
    await app(scope, receive, send)
    start, *rest = sent
    fields = {name.decode(): value.decode() for name, value in start["headers"]}
    content = b"".join(message["body"] for message in rest)
    assert fields["content-length"] == str(len(content))
    return Reply(start["status"], fields, content)


@pytest.fixture(scope="session")
def ask() -> Callable[..., Awaitable[Reply]]:
    """`request`, for several requests in one event loop."""
    return request


@pytest.fixture(scope="session")
def model_folder(
    mixed_pipeline: Pipeline, mixed_data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a logged model."""
    folder = tmp_path_factory.mktemp("server")
    schema = mixed_data.schema
    write_bundle(folder / "bundle", mixed_pipeline, schema, encode(mixed_data.X_train, schema))
    with warnings.catch_warnings():
        # mlflow 3.17 on the columns of an input example
        warnings.filterwarnings("ignore", "Operation with range is deprecated")
        save_model(
            folder / "model",
            bundle=folder / "bundle",
            code=CODE / "forest.py",
            signature=rows_signature(schema),
            input_example=example_rows(encode(mixed_data.X_train, schema), schema),
        )
    return folder / "model"


@pytest.fixture(scope="session")
def served(model_folder: Path) -> ServedModel:
    return ServedModel.load(model_folder)


@pytest.fixture
def make_app(served: ServedModel) -> Iterator[Callable[..., App]]:
    """Function from settings to an app; any model may be given instead of the forest's."""
    apps = []

    def make(served: ServedModel = served, **settings: Any) -> App:
        metrics = Metrics()
        hosting = Hosting([Source(served)], ServerSettings(**settings))
        app = App(Hosted(hosting, changed=metrics.set_jobs), metrics)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def call(make_app: Callable[..., App]) -> Callable[..., Reply]:
    """Function that sends one request to an app with default settings; what is not bytes is sent as JSON."""
    app = make_app()

    def call(
        path: str, body: Any = None, method: str = "POST", content_type: str = "application/json"
    ) -> Reply:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return asyncio.run(request(app, method, path, data, {"Content-Type": content_type}))

    return call


@pytest.fixture(scope="session")
def mlflow_server(model_folder: Path) -> Callable[[bytes, str], tuple[int, Any]]:
    """Function from body and content type to what `mlflow models serve` would answer."""
    model = mlflow.pyfunc.load_model(str(model_folder))

    def answer(body: bytes, content_type: str = "application/json") -> tuple[int, Any]:
        try:
            response = scoring_server.invocations(body, content_type, model, None)
        except MlflowException as error:
            return error.get_http_status_code(), error.message
        return response.status, json.loads(response.response) if response.status == 200 else response.response

    return answer


class SlowPredictor(Predictor):
    """A predictor whose explanations wait until they are let go, or their time is over."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def explain(
        self, matrix: NDArray[np.float64], parameters: Parameters, go_on: Callable[[], None] | None = None
    ) -> list[dict[str, Any]]:
        self.begun.release()
        while not self.go.wait(0.01):
            if go_on is not None:
                go_on()
        return [{"rule": "none"}] * len(matrix)


@pytest.fixture
def slow(served: ServedModel) -> Iterator[SlowPredictor]:
    slow = SlowPredictor(served.predictor.bundle)
    yield slow
    slow.go.set()
