"""Questions answered at once or by threads, whichever holds up the others less."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from proto_model.serving.http.inference import Inference
from proto_model.serving.http.invocations import Invocations
from proto_model.serving.http.payload import Payload, Question, RowPayload
from proto_model.serving.http.pool import Pool
from proto_model.serving.http.served_model import ServedModel
from proto_model.serving.http.settings import ServerSettings

# Up to here a body is read at once: that takes less time than handing it to a thread.
SMALL_BODY_BYTES = 32 * 1024
FILE_ADVICE = (
    "Its jobs are stopped and upload nothing more. Send fewer or smaller files, or raise file_timeout_s."
)

T = TypeVar("T")


class Service:
    """What answers for a model, in every server: MLflow's protocol, V2, and threads per kind of work.

    Large tables do not wait behind explanations. `changed` is told a kind of work, and how many jobs of the
    kind there are, whenever that changes.
    """

    def __init__(
        self,
        model: ServedModel,
        settings: ServerSettings,
        changed: Callable[[str, int], None] = lambda kind, n_jobs: None,
    ) -> None:
        self._payload: Payload
        if model.files is None:
            self._payload = RowPayload(model.predictor, settings.max_rows)
            self.retry_after_s = 1
            limits = (settings.threads, settings.max_waiting, settings.answer_timeout_s)
            kinds = ("body", "explanation")
            self._pools = {kind: Pool(*limits, changed=partial(changed, kind)) for kind in kinds}
        else:
            from proto_model.serving.http.file_payload import FilePayload

            self._payload = FilePayload(model.predictor, model.files, settings.max_files)
            self.retry_after_s = 30
            limits = (settings.file_jobs, settings.max_waiting_files, settings.file_timeout_s)
            self._pools = {"file": Pool(*limits, changed=partial(changed, "file"), advice=FILE_ADVICE)}
        self.invocations = Invocations(self._payload)
        self.inference = Inference(self._payload, model.schema.model_name, model.version)

    async def answer(
        self, read: Callable[[], tuple[Question, Callable[[Any], T]]], n_bytes: int
    ) -> tuple[T, int]:
        """Written answer of a request, and its number of rows.

        `read` gives the question of the request, and what writes the answer; `n_bytes` are still to be read.
        """
        if n_bytes <= SMALL_BODY_BYTES or "body" not in self._pools:
            question, write = read()
        else:
            question, write = await self._pools["body"].run(lambda _: read())

        def answer(go_on: Callable[[], None] | None = None) -> tuple[T, int]:
            answered = self._payload.answer(question, go_on)
            return write(answered), self._payload.n_rows(answered)

        work = self._payload.work(question)
        if work is None and n_bytes <= SMALL_BODY_BYTES:
            return answer()
        return await self._pools[work or "body"].run(answer)

    def check_place(self, n_bytes: int) -> None:
        """Nothing, when a body of so many bytes would be taken; raises OverloadError before it is read."""
        if n_bytes > SMALL_BODY_BYTES and "body" in self._pools:
            self._pools["body"].check_place()

    def close(self) -> None:
        """Have what is at work end at its next step, and the threads with it."""
        for pool in self._pools.values():
            pool.close()
