"""The site's sources in one folder: pages, what they link to, and the reference.

Pages keep the paths that they have in the repository, so that their links hold in both places.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from scripts.documents.reference import pages

__all__ = ["DocumentError", "pages_in", "stage"]

ROOT = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<begin>\]\()(?P<target>[^)#\s]+)(?P<end>(#[^)\s]*)?\))")
INDEX = "index.md"
STYLE = Path(__file__).with_name("site.css")
# Pages that belong to the site wherever the menu puts them.
DOCUMENTS = ("docs/*.md", "examples/*/README.md")


class DocumentError(Exception):
    """A page is missing, is in no menu, or links to what is not there."""


def pages_in(nav: Any) -> Iterator[str]:
    """Paths of the pages of a menu."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_in(entry)


def menu(root: Path = ROOT) -> list[str]:
    """Pages of the site in the order of its menu."""
    # The rest of the file is the generator's, with tags of its own.
    text = (root / "mkdocs.yml").read_text(encoding="utf-8")
    found = re.search(r"^nav:\n(?:[ ].*\n)+", text, re.MULTILINE)
    if found is None:
        raise DocumentError("mkdocs.yml has no nav.")
    return list(pages_in(yaml.safe_load(found[0])["nav"]))


def stage(folder: Path, root: Path = ROOT) -> None:
    """Put the sources of the site into an empty folder.

    Raises DocumentError for a page that the menu lacks, or has without its being there, and for links to
    files that do not exist. Links between pages are the generator's to check.
    """
    listed = menu(root)
    known = {path.relative_to(root).as_posix() for pattern in DOCUMENTS for path in root.glob(pattern)}
    if forgotten := sorted(known - set(listed)):
        raise DocumentError(f"mkdocs.yml: nav lacks {', '.join(forgotten)}. Add a line for each.")
    made = pages()
    _copy(STYLE, folder / STYLE.name)
    for name in listed:
        if name in made:
            text = made[name]
        elif (root / name).is_file():
            text = (root / name).read_text(encoding="utf-8")
        else:
            raise DocumentError(f"mkdocs.yml: nav has {name}, which does not exist.")
        _write(folder / name, _Page(name, set(listed), folder, root).linked(text))


class _Page:
    """A page whose links are looked at, and followed where they lead to files."""

    def __init__(self, name: str, listed: set[str], folder: Path, root: Path) -> None:
        self._name = name
        self._listed = listed
        self._folder = folder
        self._root = root

    def linked(self, text: str) -> str:
        """The text, with links to folders leading to a list of their files."""
        parts, start = [], 0
        for block in FENCED.finditer(text):
            parts += [LINK.sub(self._link, text[start : block.start()]), block[0]]
            start = block.end()
        return "".join([*parts, LINK.sub(self._link, text[start:])])

    def _link(self, link: re.Match[str]) -> str:
        target = link["target"]
        if re.match(r"[a-z]+:", target):
            return link[0]
        path = os.path.normpath(PurePosixPath(self._name).parent / target)
        if path in self._listed:
            return link[0]
        source = self._root / path
        if path.startswith("..") or not source.exists():
            raise DocumentError(f"{self._name} links to {target}, which does not exist.")
        if source.is_file():
            _copy(source, self._folder / path)
            return link[0]
        if f"{path}/README.md" in self._listed:
            return f"{link['begin']}{target.rstrip('/')}/README.md{link['end']}"
        self._list_files(path)
        return f"{link['begin']}{target.rstrip('/')}/{INDEX}{link['end']}"

    def _list_files(self, path: str) -> None:
        lines = [f"# {path}", ""]
        for file in sorted((self._root / path).rglob("*")):
            name = file.relative_to(self._root / path).as_posix()
            # What begins with a dot may be somebody's secrets, such as deploy/.env.
            if file.is_file() and not re.search(r"(^|/)(\.|__pycache__)", name):
                # A page of its own would be rendered, and its links with it.
                shown = f"{name}.txt" if file.suffix == ".md" else name
                _copy(file, self._folder / path / shown)
                lines.append(f"- [{name}]({shown})")
        _write(self._folder / path / INDEX, "\n".join([*lines, ""]))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
