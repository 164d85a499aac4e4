"""Swagger UI, which renders OpenAPI on the documentation page: files of an optional package.

The package's files are read, never its code, which would import a web framework.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "flask_swagger_ui"
SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"
RENDERER_PARTS = (SCRIPT, STYLE)  # all that is ever served of the package
ABSENT = "pip install 'proto-model-mapper[docs]'"


@cache
def renderer_files() -> dict[str, bytes]:
    """Files by name; none when the package is missing, or is not as it should be."""
    found = find_spec(PACKAGE)
    folders = () if found is None else found.submodule_search_locations or ()
    for folder in folders:
        try:
            return {name: Path(folder, "dist", name).read_bytes() for name in RENDERER_PARTS}
        except OSError:
            continue
    return {}


@cache
def renderer_version() -> str:
    """What changes when a file does, as part of their addresses; empty when there are none."""
    files = renderer_files()
    return hashlib.sha256(b"".join(files.values())).hexdigest()[:16] if files else ""


@cache
def compressed(name: str) -> bytes:
    """One of the files in a quarter of the bytes; takes a while when first asked."""
    return gzip.compress(renderer_files()[name], 6, mtime=0)
