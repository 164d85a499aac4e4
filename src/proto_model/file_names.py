"""Names of files in a folder that travels: they mean the same on every system, and stay inside."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PureWindowsPath

__all__ = ["name_fault", "names_fault"]


def name_fault(name: str) -> str:
    """Why a name cannot be that of a file of a version, in words that follow it; empty if it can.

    Examples
    --------
    >>> name_fault("artifacts/bundle/schema.json"), name_fault("../secret")
    ('', 'leads out of the folder')
    """
    if not name:
        return "is empty"
    if not name.isprintable() or not unicodedata.is_normalized("NFC", name):
        return "has characters that other systems write in another way"
    if "\\" in name or PureWindowsPath(name).drive or name.startswith("/"):
        return "is no relative path"
    parts = name.split("/")
    if ".." in parts:
        return "leads out of the folder"
    return "is written in another way than paths are" if {"", "."} & set(parts) else ""


def names_fault(names: Iterable[str]) -> str:
    """Why names cannot be those of the files of one version; empty if they can."""
    seen: dict[str, str] = {}
    for name in names:
        fault = name_fault(name)
        if fault:
            return f"{name!r} {fault}."
        # Some file systems take these for one file.
        folded = unicodedata.normalize("NFC", name.casefold())
        if folded in seen:
            other = seen[folded]
            return f"{name!r} is there twice." if name == other else f"{name!r} is also written {other!r}."
        seen[folded] = name
    return ""
