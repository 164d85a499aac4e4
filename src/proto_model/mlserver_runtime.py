"""MLServer runtime of the served models, over the protocols of the lean server.

`generate_mlserver_configs.sh` names it in `model-settings.json`. `/invocations` and its neighbours are
MLflow's protocol; V2 over REST and gRPC is MLServer's, with a tensor per column. Use `parallel_workers: 0`:
with workers, MLServer cannot pass what comes to `/invocations` on to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters, ResponseOutput
from mlserver.utils import get_model_uri
from starlette.requests import Request
from starlette.responses import Response

from proto_model.server.errors import fault
from proto_model.server.inference import PLATFORM, Inference, Tensor
from proto_model.server.invocations import JSON, Invocations
from proto_model.server.scorer import Answer, Question, Scorer
from proto_model.server.service import Service
from proto_model.server.settings import ServerSettings

__all__ = ["ForestRuntime"]


class ForestRuntime(MLModel):  # type: ignore[misc]  # mlserver is not installed where types are checked
    """Answers with a logged model; its folder is `parameters.uri` in `model-settings.json`."""

    async def load(self) -> bool:
        """Read the model, and tell its columns."""
        self.scorer = Scorer.load(Path(await get_model_uri(self._settings)))
        schema, explains = self.scorer.schema, self.scorer.always_explains
        limits = ServerSettings()
        self._service = Service(self.scorer, limits)
        self._inference = Inference(schema, self.scorer.version, explains, limits.max_rows)
        self._invocations = Invocations(schema, explains, limits.max_rows)
        metadata = self._inference.metadata()
        self._settings.platform = PLATFORM
        self.inputs = [MetadataTensor(**tensor) for tensor in metadata["inputs"]]
        self.outputs = [MetadataTensor(**tensor) for tensor in metadata["outputs"]]
        return True

    async def unload(self) -> bool:
        """Let the threads end."""
        self._service.close()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer of a V2 request, over REST or gRPC."""

        def read() -> tuple[Question, Any]:
            tensors = [
                Tensor(item.name, item.shape, item.datatype, _plain(item.data)) for item in payload.inputs
            ]
            params = payload.parameters.model_dump() if payload.parameters else None
            outputs = [output.name for output in payload.outputs or []]
            request = self._inference.request(tensors, params, payload.id, outputs)

            def write(answer: Answer) -> InferenceResponse:
                n_rows = len(answer.probabilities)
                columns = self._inference.outputs(request, answer)
                return InferenceResponse(
                    model_name=self.name,
                    model_version=self.version,
                    id=payload.id,
                    outputs=[_output(name, [n_rows, 1], datatype, data) for name, datatype, data in columns],
                )

            return request.question, write

        try:
            response, _ = await self._service.answer(read, 0)
        except Exception as error:
            status, _, text = fault(error)
            raise MLServerError(text, status) from error
        return response

    @custom_handler(rest_path="/invocations")  # type: ignore[untyped-decorator]
    async def invocations(self, request: Request) -> Response:
        """Answer of MLflow's `/invocations`."""
        content_type = request.headers.get("content-type", "")
        try:
            body = await request.body()
            content, _ = await self._service.answer(
                lambda: (self._invocations.read(body, content_type), self._invocations.write), len(body)
            )
        except Exception as error:
            status, code, text = fault(error)
            return Response(orjson.dumps({"error_code": code, "message": text}), status, media_type=JSON)
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
        return Response(self.scorer.mlflow_version, media_type=JSON)


def _output(name: str, shape: list[int], datatype: str, data: list[Any]) -> ResponseOutput:
    """Tensor as gRPC wants it: text as bytes, which REST and MLServer's codecs turn into text again."""
    if datatype != "BYTES":
        return ResponseOutput(name=name, shape=shape, datatype=datatype, data=data)
    content = [value.encode() for value in data]
    text = Parameters(content_type="str")
    return ResponseOutput(name=name, shape=shape, datatype=datatype, data=content, parameters=text)


def _plain(data: Any) -> Any:
    """Values of a tensor without MLServer's wrapping."""
    return getattr(data, "root", data)
