"""The source that is exported, the same for every version: what it does is in its attachment."""

from pathlib import Path


def content(name: str) -> bytes:
    """Bytes of a file."""
    return (Path(__file__).parent / name).read_bytes()
