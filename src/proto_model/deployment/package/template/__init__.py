"""Files that go into every package as they are."""

from pathlib import Path


def content(name: str) -> bytes:
    """Bytes of one of them."""
    return (Path(__file__).parent / name).read_bytes()
