"""What answers for a model, in every server: its protocols, and who does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proto_model.serving.http.inference import Inference
from proto_model.serving.http.invocations import Invocations
from proto_model.serving.http.scorer import Scorer
from proto_model.serving.http.service import Service
from proto_model.serving.http.settings import ServerSettings

if TYPE_CHECKING:
    from proto_model.serving.http.file_requests import FileInference, FileInvocations
    from proto_model.serving.http.file_service import FileService

__all__ = ["Endpoints"]


@dataclass(frozen=True)
class Endpoints:
    """Two protocols and a service that belong together.

    Parameters
    ----------
    invocations : Invocations or FileInvocations
        MLflow's protocol.
    inference : Inference or FileInference
        V2.
    service : Service or FileService
        Answers what either of them has read.
    """

    invocations: Invocations | FileInvocations
    inference: Inference | FileInference
    service: Service | FileService

    @classmethod
    def of(
        cls, scorer: Scorer, settings: ServerSettings, changed: Callable[[str, int], None] | None = None
    ) -> Endpoints:
        """Endpoints of a model for rows or for files.

        Parameters
        ----------
        scorer : Scorer
            The model.
        settings : ServerSettings
            Limits.
        changed : callable
            Told a kind of job, and how many of it there are, whenever that changes.
        """
        schema, version = scorer.schema, scorer.version
        if scorer.files is None:
            explains, max_rows = scorer.always_explains, settings.max_rows
            return cls(
                Invocations(schema, explains, max_rows),
                Inference(schema, version, explains, max_rows),
                Service(scorer, settings, changed),
            )
        from proto_model.serving.http.file_requests import FileInference, FileInvocations
        from proto_model.serving.http.file_service import FileService

        return cls(
            FileInvocations(schema, settings.max_files),
            FileInference(schema, version, settings.max_files),
            FileService(scorer, settings, changed),
        )
