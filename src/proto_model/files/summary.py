"""What became of each file job: the row that answers it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ErrorType", "Summary"]

ErrorType = Literal["url", "input", "limit", "transfer", "internal"]


@dataclass(frozen=True)
class Summary:
    """One job's answer. Numbers of a failed job say how far it came, where that is known.

    Parameters
    ----------
    file_id : str or None
        As in the request.
    status : {"done", "failed"}
        A failed job uploaded nothing.
    rows, rejected_rows : int or None
        Rows of the output, and those without a prediction.
    bytes_in, bytes_out : int or None
        Bytes downloaded and uploaded.
    input_format, output_format : str or None
        As found and as written.
    seconds : float
        From start to end of the job.
    etag : str or None
        What the store calls the output.
    sha256 : str or None
        Digest of the output.
    notes : str or None
        What the caller should know of a job that is done.
    error : str or None
        Why a job failed.
    error_type : {"url", "input", "limit", "transfer", "internal"} or None
        `url`: it may not be opened; `input`: the file does not fit the model or the parameters; `limit`: too
        large or too slow; `transfer`: a store did not give or take a file; `internal`: a fault in here.
    """

    file_id: str | None
    status: Literal["done", "failed"]
    rows: int | None = None
    rejected_rows: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    input_format: str | None = None
    output_format: str | None = None
    seconds: float = 0.0
    etag: str | None = None
    sha256: str | None = None
    notes: str | None = None
    error: str | None = None
    error_type: ErrorType | None = None

    @classmethod
    def columns(cls) -> list[str]:
        """Names of the answer's columns, in order."""
        return [field.name for field in dataclasses.fields(cls)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by column."""
        return dataclasses.asdict(self)
