"""`MANIFEST.sha256`: the SHA-256 of every other file of a package, as sha256sum writes and reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.layout import MANIFEST
from proto_model.file_names import names_fault

MAX_BYTES = 16 * 1024 * 1024
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<name>.+)")


def manifest_text(digests: Mapping[str, str]) -> str:
    """Text of the file, for digests by name."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def read_manifest(content: bytes) -> dict[str, str]:
    """Digest of each file by name; a PackageError says why this is no such file."""
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise PackageError(f"{MANIFEST} is no text in UTF-8. Get the package again.") from error
    matches = [_LINE.fullmatch(line) for line in lines]
    bad = next((number for number, match in enumerate(matches, 1) if match is None), None)
    if bad is not None:
        raise PackageError(
            f"Line {bad} of {MANIFEST} is not a SHA-256, two spaces and a name. Get the package again."
        )
    found = [match for match in matches if match is not None]
    fault = names_fault([MANIFEST, *(match["name"] for match in found)])
    if fault:
        raise PackageError(f"{MANIFEST}: {fault} Get the package again.")
    return {match["name"]: match["sha256"] for match in found}
