"""How a file job is to be done, as its request says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from proto_model.errors import InputError
from proto_model.files.formats import FileFormat

__all__ = ["FileOptions", "OnBadRow"]

OnBadRow = Literal["fail", "mark"]


@dataclass(frozen=True)
class FileOptions:
    """Formats, extra columns and what to do with a bad row.

    Parameters
    ----------
    input_format : FileFormat or None
        None finds it out.
    output_format : FileFormat or None
        None takes the input's.
    passthrough : tuple of str
        Columns of the input that are copied to the output, before the predictions.
    on_bad_row : {"fail", "mark"}
        Whether a row that does not fit the schema ends the job, or stays as a row without prediction whose
        column `error` says why.
    explain : bool
        Whether each row gets an explanation, as JSON in the column `explanation`.
    """

    input_format: FileFormat | None = None
    output_format: FileFormat | None = None
    passthrough: tuple[str, ...] = ()
    on_bad_row: OnBadRow = "fail"
    explain: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> FileOptions:
        """Options from the parameters of a request; what is absent or empty keeps its default.

        Raises
        ------
        InputError
            If a value is not one of the accepted ones.
        """
        on_bad_row: OnBadRow = params.get("on_bad_row") or "fail"
        if on_bad_row not in ("fail", "mark"):
            raise InputError(f"on_bad_row={on_bad_row!r} given, 'fail' or 'mark' expected.")
        given = params.get("passthrough", ())
        names = [given] if isinstance(given, str) else [str(name) for name in given]
        if len(set(names)) < len(names):
            raise InputError(f"passthrough={names} names a column twice.")
        return cls(
            input_format=_format(params, "input_format"),
            output_format=_format(params, "output_format"),
            passthrough=tuple(names),
            on_bad_row=on_bad_row,
            explain=bool(params.get("explain", False)),
        )


def _format(params: Mapping[str, Any], name: str) -> FileFormat | None:
    text = params.get(name)
    return FileFormat.parse(str(text), name) if text else None
