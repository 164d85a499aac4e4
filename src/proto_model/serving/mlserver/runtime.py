"""MLServer runtime of the served models, over the protocols of the lean server.

`generate_mlserver_configs.sh` names it in `model-settings.json`, with its limits under `parameters.extra`.
`/invocations` and its neighbours are MLflow's protocol; V2 over REST and gRPC is MLServer's, with a tensor
per column. Use `parallel_workers: 0`: with workers, MLServer cannot pass what comes to `/invocations` on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters, ResponseOutput
from mlserver.utils import get_model_uri
from starlette.requests import Request
from starlette.responses import Response

from proto_model.serving.http.body import media_type
from proto_model.serving.http.errors import fault
from proto_model.serving.http.inference import PLATFORM, Envelope
from proto_model.serving.http.payload import JSON
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.service import Service, make_pools
from proto_model.serving.http.settings import ServerSettings
from proto_model.serving.http.tensors import Tensor

ENDING = (signal.SIGTERM, signal.SIGINT)
# Between the end of jobs and that of the process.
LAST_S = 5.0


class ForestRuntime(MLModel):  # type: ignore[misc]  # mlserver is not installed where types are checked
    """Answers with a logged model; its folder is `parameters.uri` in `model-settings.json`."""

    async def load(self) -> bool:
        """Read the model, and tell its columns."""
        extra = (self._settings.parameters and self._settings.parameters.extra) or {}
        limits = ServerSettings.of_numbers(extra, "model-settings.json: parameters.extra: ")
        self.served = ServedModel.load(Path(await get_model_uri(self._settings)))
        self._pools = make_pools(limits)
        self._service = Service(self.served, limits, self._pools)
        metadata = self._service.inference.metadata()
        self._settings.platform = PLATFORM
        self.inputs = [MetadataTensor(**tensor) for tensor in metadata["inputs"]]
        self.outputs = [MetadataTensor(**tensor) for tensor in metadata["outputs"]]
        if self.served.files is not None:
            _after_signal(limits.drain_timeout_s, self._close)
        return True

    async def unload(self) -> bool:
        """Have what is at work end, and the threads with it."""
        self._close()
        return True

    def _close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer of a V2 request, over REST or gRPC."""

        def read() -> tuple[Any, Any]:
            tensors = [
                Tensor(item.name, item.shape, item.datatype, _plain(item.data)) for item in payload.inputs
            ]
            params = payload.parameters.model_dump() if payload.parameters else None
            names = [output.name for output in payload.outputs or []]
            request = self._service.inference.request(Envelope(tensors, params, payload.id, names))

            def write(answer: Any) -> InferenceResponse:
                outputs = self._service.inference.outputs(request, answer)
                return InferenceResponse(
                    model_name=self.name,
                    model_version=self.version,
                    id=payload.id,
                    outputs=[_output(*output) for output in outputs],
                )

            return request.question, write

        try:
            headers = (payload.parameters and payload.parameters.headers) or {}
            if "host" in headers:  # REST, not gRPC; MLServer reads JSON whatever its type
                media_type(headers.get("content-type", ""), (JSON,))
            response, _ = await self._service.answer(read, 0)
        except Exception as error:
            status, _, text = fault(error)
            raise MLServerError(text, status) from error
        answer: InferenceResponse = response
        return answer

    @custom_handler(rest_path="/invocations")  # type: ignore[untyped-decorator]
    async def invocations(self, request: Request) -> Response:
        """Answer of MLflow's `/invocations`."""
        content_type = request.headers.get("content-type", "")
        protocol = self._service.invocations
        try:
            body = await request.body()
            content, _ = await self._service.answer(
                lambda: (protocol.read(body, content_type), protocol.write), len(body)
            )
        except Exception as error:
            status, code, text = fault(error)
            headers = {"Retry-After": str(self._service.retry_after_s)} if status == 503 else None
            content = orjson.dumps({"error_code": code, "message": text})
            return Response(content, status, headers, media_type=JSON)
        return Response(content, media_type=JSON)

    @custom_handler(rest_path="/ping", rest_method="GET")  # type: ignore[untyped-decorator]
    async def ping(self) -> Response:
        """Sign of life, as MLflow's server gives it."""
        return Response("\n", media_type=JSON)

    @custom_handler(rest_path="/health", rest_method="GET")  # type: ignore[untyped-decorator]
    async def health(self) -> Response:
        """The same."""
        return Response("\n", media_type=JSON)

    @custom_handler(rest_path="/version", rest_method="GET")  # type: ignore[untyped-decorator]
    async def version_of_mlflow(self) -> Response:
        """Version of the MLflow that logged the model."""
        return Response(self.served.mlflow_version, media_type=JSON)

    @custom_handler(rest_path="/v1/schema", rest_method="GET")  # type: ignore[untyped-decorator]
    async def schema(self) -> Response:
        """The model schema, as the lean server and the mapper give it."""
        return Response(orjson.dumps(self.served.schema.to_dict()), media_type=JSON)


def _after_signal(seconds: float, end: Any) -> None:
    """Call a function some time after the signal that ends the server.

    MLServer waits for what it has begun, however long that takes, and tells nobody. The servers that it has
    started have their handlers in place when a model is loaded; ours comes before them and passes on. The
    process ends even if a thread still waits for a store.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # signals come to the main thread only
    loop = asyncio.get_running_loop()
    last = threading.Timer(seconds + LAST_S, os._exit, [0])
    last.daemon = True

    def begin() -> None:
        loop.call_later(seconds, end)
        if not last.is_alive():
            last.start()

    def passing_on(before: Any) -> Any:
        def handler(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(begin)
            if callable(before):
                before(number, frame)

        return handler

    for number in ENDING:
        signal.signal(number, passing_on(signal.getsignal(number)))


def _output(name: str, datatype: str, data: list[Any]) -> ResponseOutput:
    """Tensor as gRPC wants it: text as bytes, which REST and MLServer's codecs turn into text again."""
    shape = [len(data), 1]
    if datatype != "BYTES":
        return ResponseOutput(name=name, shape=shape, datatype=datatype, data=data)
    content = [value.encode() for value in data]
    text = Parameters(content_type="str")
    return ResponseOutput(name=name, shape=shape, datatype=datatype, data=content, parameters=text)


def _plain(data: Any) -> Any:
    """Values of a tensor without MLServer's wrapping."""
    return getattr(data, "root", data)
