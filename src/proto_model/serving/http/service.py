"""Questions answered at once or by threads, whichever holds up the others less."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from proto_model.explanation.interface import Explanations
from proto_model.parameters import Parameters
from proto_model.serving.http.explainers import NoProcessError
from proto_model.serving.http.inference import Inference
from proto_model.serving.http.invocations import Invocations
from proto_model.serving.http.payload import Payload, Question, RowPayload
from proto_model.serving.http.pool import Pool
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.settings import ServerSettings

# Up to here a body is read at once: that takes less time than handing it to a thread.
SMALL_BODY_BYTES = 32 * 1024
# So many explanations are written at once.
FEW_EXPLANATIONS = 20
FILE_ADVICE = (
    "Its jobs are stopped and upload nothing more. Send fewer or smaller files, or raise file_timeout_s."
)

T = TypeVar("T")
Explain = Callable[[NDArray[np.float64], Parameters, float], Awaitable[Explanations]]
"""Explains rows elsewhere, within some seconds; raises NoProcessError when threads have to."""


def make_pools(
    settings: ServerSettings, changed: Callable[[str, int], None] = lambda kind, n_jobs: None
) -> dict[str, Pool]:
    """Threads for each kind of work of a process, whatever models it serves; none runs before it is needed.

    Large tables do not wait behind explanations. `changed` is told a kind of work, and how many jobs of the
    kind there are, whenever that changes.
    """
    rows = (settings.threads, settings.max_waiting, settings.answer_timeout_s)
    files = (settings.file_jobs, settings.max_waiting_files, settings.file_timeout_s)
    pools = {kind: Pool(*rows, changed=partial(changed, kind)) for kind in ("body", "explanation")}
    return pools | {"file": Pool(*files, changed=partial(changed, "file"), advice=FILE_ADVICE)}


class Service:
    """What answers for a model, in every server: MLflow's protocol, V2, and the threads of its process.

    `name` is what V2 calls the model, by default that of its schema. Threads explain, unless `explain` is
    given.
    """

    def __init__(
        self,
        model: ServedModel,
        settings: ServerSettings,
        pools: Mapping[str, Pool],
        name: str = "",
        explain: Explain | None = None,
    ) -> None:
        self._payload: Payload
        self._pools = pools
        self._explain = explain
        self._predictor = model.predictor
        self._takes_rows = model.files is None
        if model.files is None:
            self._payload = RowPayload(model.predictor, settings.max_rows)
            self.retry_after_s = 1
        else:
            from proto_model.serving.http.file_payload import FilePayload

            self._payload = FilePayload(model.predictor, model.files, settings.max_files)
            self.retry_after_s = 30
        self.invocations = Invocations(self._payload)
        self.inference = Inference(self._payload, name or model.schema.model_name, model.version)

    async def answer(
        self, read: Callable[[], tuple[Question, Callable[[Any], T]]], n_bytes: int
    ) -> tuple[T, int]:
        """Written answer of a request, and its number of rows.

        `read` gives the question of the request, and what writes the answer; `n_bytes` are still to be read.
        """
        if n_bytes <= SMALL_BODY_BYTES or not self._takes_rows:
            question, write = read()
        else:
            question, write = await self._pools["body"].run(lambda _: read())

        def answer(go_on: Callable[[], None] | None = None) -> tuple[T, int]:
            answered = self._payload.answer(question, go_on)
            return write(answered), self._payload.n_rows(answered)

        work = self._payload.work(question)
        if work is None and n_bytes <= SMALL_BODY_BYTES:
            return answer()
        if work == "explanation" and self._explain is not None and not np.isinf(question.rows).any():
            with suppress(NoProcessError):
                return await self._explained(self._explain, question, write)
        return await self._pools[work or "body"].run(answer)

    async def _explained(
        self, explain: Explain, question: Question, write: Callable[[Any], T]
    ) -> tuple[T, int]:
        rows, parameters = question
        explanations = await self._pools["explanation"].attend(partial(explain, rows, parameters))

        def answer(_: object = None) -> tuple[T, int]:
            probabilities = self._predictor.predict_proba(rows)
            return write(self._predictor.answered(probabilities, parameters, explanations)), len(rows)

        return answer() if len(rows) <= FEW_EXPLANATIONS else await self._pools["body"].run(answer)

    def check_place(self, n_bytes: int) -> None:
        """Nothing, when a body of so many bytes would be taken; raises OverloadError before it is read."""
        if n_bytes > SMALL_BODY_BYTES and "body" in self._pools:
            self._pools["body"].check_place()
