"""The page and the engine as one file each, joined from the small ones in `page/`.

Each file is a module of JavaScript that names what it needs of the others. Joined, they are one scope, so no
name may be defined twice. Nothing is fetched: the page allows its own scripts and style by their digests, and
makes its worker of the texts of two of them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

INDEX = "index.html"
ENGINE = "engine.mjs"
MODEL = "model.bin"

_FOLDER = Path(__file__).parent / "page"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<name>[a-z_]+)\.js";\n', re.MULTILINE)
_DEFINED = re.compile(r"^(?:export )?(?:async )?(?:const|let|function\*?|class) (?P<name>\w+)", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_ASIDE = re.compile(r"^ *//.*\n|^ +|^\n", re.MULTILINE)  # comments of whole lines, indents, empty lines
_ENGINE_NAMES = ("openModel", "scoreCsv", "jsonText")


def index_text(model: bytes, digest: str, title: str) -> str:
    """The page with a model in it; `digest` is the SHA-256 that the model has to have."""
    of_worker, of_page = modules("worker"), modules("page")
    shared = [name for name in of_page if name in of_worker]
    scripts = {
        "shared": joined(shared),
        "worker": joined([name for name in of_worker if name not in shared]),
        "page": joined([name for name in of_page if name not in shared]),
    }
    style = _ASIDE.sub("", _file("page.css"))
    run = [scripts["shared"], scripts["page"]]
    parts = {
        **scripts,
        "title": html.escape(title),
        "policy": html.escape(_policy(run, style), quote=False),
        "style": style,
        "digest": digest,
        "model": base64.b64encode(gzip.compress(model, 9, mtime=0)).decode(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))


def engine_text() -> str:
    """The engine as one module, for programs of one's own."""
    return f"{joined(modules('engine'))}export {{ {', '.join(_ENGINE_NAMES)} }};\n"


@cache
def modules(name: str) -> tuple[str, ...]:
    """A module and all that it needs, each once and before whoever needs it."""
    order: list[str] = []

    def visit(module: str) -> None:
        for found in _IMPORT.finditer(_file(f"{module}.js")):
            if found["name"] not in order:
                visit(found["name"])
        order.append(module)

    visit(name)
    return tuple(order)


def joined(names: Sequence[str]) -> str:
    """Text of modules in one scope."""
    text = "".join(_EXPORT.sub("", _IMPORT.sub("", _file(f"{name}.js"))) for name in names)
    defined = [found["name"] for found in _DEFINED.finditer(text)]
    twice = {name for name in defined if defined.count(name) > 1}
    assert not twice, f"{sorted(twice)} are defined by two files of the page"
    assert "</script" not in text.lower(), "a script cannot hold its own end"
    return f'"use strict";\n{_ASIDE.sub("", text)}'


def _policy(scripts: Sequence[str], style: str) -> str:
    """Nothing is loaded: the scripts and the style that are there may run, and a worker made of texts."""
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(map(_hashed, scripts)),
        "style-src": _hashed(style),
        "worker-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
