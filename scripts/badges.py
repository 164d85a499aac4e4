"""Write the badges of README.md from what they claim: pyproject.toml, the version, and mypy's settings.

Example: python -m scripts.badges
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["badges", "write"]

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
CHARACTER, MARGIN, HEIGHT = 6.6, 6, 20  # pixels
COLOURS = {"version": "#2f6fb2", "python": "#2f6fb2", "licence": "#3c7a3c", "types": "#3c7a3c"}


def badges() -> dict[str, str]:
    """SVG of each badge, by its name."""
    texts = facts()
    return {f"badge-{name}.svg": _svg(name, text, COLOURS[name]) for name, text in texts.items()}


def facts() -> dict[str, str]:
    """What the badges say."""
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    found = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    version = re.search(r'__version__ = "(.+)"', (ROOT / "src/proto_model/__init__.py").read_text("utf-8"))
    assert version is not None
    return {
        "version": version[1],
        "python": f"{found[0]} to {found[-1]}",
        "licence": project["license"],
        "types": "mypy, strict" if settings["tool"]["mypy"]["strict"] else "mypy",
    }


def _svg(name: str, text: str, colour: str) -> str:
    left, right = (round(len(part) * CHARACTER + 2 * MARGIN) for part in (name, text))
    label = f"{name}: {text}"
    style = 'fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}" role="img" '
        f'aria-label="{label}"><title>{label}</title>'
        f'<rect width="{left}" height="{HEIGHT}" fill="#555"/>'
        f'<rect x="{left}" width="{right}" height="{HEIGHT}" fill="{colour}"/>'
        f'<g {style}><text x="{left / 2}" y="14">{name}</text>'
        f'<text x="{left + right / 2}" y="14">{text}</text></g></svg>\n'
    )


def write(folder: Path) -> None:
    """Write them into a folder."""
    for name, text in badges().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(IMAGES)
    sys.exit()
