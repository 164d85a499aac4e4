"""A wheel of this project, made of what is installed here, so that no registry needs to have it.

The same files give the same bytes. It is not compressed: what compresses differs from machine to machine.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import proto_model
from proto_model.deployment.package.archive import write_zip
from proto_model.deployment.package.errors import PackageError

DISTRIBUTION = "proto-model-turbo"
_STEM = f"{DISTRIBUTION.replace('-', '_')}-{proto_model.__version__}"
WHEEL = f"{_STEM}-py3-none-any.whl"

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DESCRIBED = ("METADATA", "entry_points.txt", "licenses/LICENSE")


def write_wheel(folder: Path) -> Path:
    """Write the wheel into a folder; raises PackageError if this project is not installed."""
    installed = _distribution()
    files = {f"proto_model/{path.as_posix()}": _read(path) for path in _sources()}
    described = {name: text for name in _DESCRIBED if (text := installed.read_text(name)) is not None}
    described["METADATA"] = _metadata(described["METADATA"])
    described["WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: {DISTRIBUTION} {proto_model.__version__}\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files |= {f"{_STEM}.dist-info/{name}": text.encode() for name, text in described.items()}
    record = f"{_STEM}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in sorted(files.items())]
    files[record] = "".join([*lines, f"{record},,\n"]).encode()
    path = folder / WHEEL
    write_zip(path, files, compress=False)
    return path


def needed() -> list[str]:
    """Names of what this project cannot do without; raises PackageError if it is not installed."""
    listed = _distribution().requires or []
    names = [_NAME.match(line) for line in listed if "extra ==" not in line]
    return sorted(name.group() for name in names if name is not None)


def _distribution() -> Distribution:
    try:
        return Distribution.from_name(DISTRIBUTION)
    except PackageNotFoundError as error:
        raise PackageError(
            f"{DISTRIBUTION} is not installed here, so what it needs is not known. "
            f'Type: pip install "{DISTRIBUTION}[train]"'
        ) from error


def _sources() -> Iterator[Path]:
    root = _root()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in name.parts):
            yield name


def _root() -> Path:
    return Path(proto_model.__file__).parent


def _read(name: Path) -> bytes:
    return (_root() / name).read_bytes()


def _metadata(text: str) -> str:
    """What an installation says of itself, without the README, and with the version of the code."""
    fields = text.partition("\n\n")[0].splitlines()
    kept = [
        line for line in fields if not line.startswith(("Version:", "Description-Content-Type:", "Dynamic:"))
    ]
    return "\n".join([kept[0], f"Version: {proto_model.__version__}", *kept[1:]]) + "\n"


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
