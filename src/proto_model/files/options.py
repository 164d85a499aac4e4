"""How a file job is to be done, as its request says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from proto_model.errors import InputError
from proto_model.files.formats import parse_format


@dataclass(frozen=True)
class FileOptions:
    """Formats, extra columns and what to do with a bad row."""

    input_format: str = ""  # empty: found by content, then by name and media type
    output_format: str = ""  # empty: the input's
    passthrough: tuple[str, ...] = ()  # columns to copy before the predictions
    on_bad_row: Literal["fail", "mark"] = "fail"  # mark: it stays, without prediction; `error` says why
    explain: bool = False  # adds the column `explanation`, JSON

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> FileOptions:
        """Options from the parameters of a request; what is absent or empty keeps its default.

        Raises
        ------
        InputError
            If a value is not one of the accepted ones.
        """
        on_bad_row: Literal["fail", "mark"] = params.get("on_bad_row") or "fail"
        if on_bad_row not in ("fail", "mark"):
            raise InputError(f"Unknown on_bad_row {on_bad_row!r}: expected 'fail' or 'mark'.")
        given = params.get("passthrough", ())
        columns = [given] if isinstance(given, str) else [str(name) for name in given]
        if len(set(columns)) < len(columns):
            raise InputError(f"passthrough={columns} names a column twice.")
        formats = {name: str(params.get(name) or "") for name in ("input_format", "output_format")}
        for name, text in formats.items():
            if text:
                parse_format(text, name)
        return cls(
            **formats,
            passthrough=tuple(columns),
            on_bad_row=on_bad_row,
            explain=bool(params.get("explain", False)),
        )
