"""A mapping in Python: a class that is installed here, or that a version carries in its `mapper/`.

The class is made with a model (a `TabularModel`; for /v1/explain its explainer) and has `map_request`,
`map_response`, and `form()`: the JSON Schemas of one record (`record`) and of one row's answer (`answer`).
The code of a version runs in this process and can do whatever the process can, so it is loaded only where an
operator allows it; the SHA-256 of all of it says which code was allowed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import orjson

from mapper.errors import MappingError, shown
from mapper.mapping.interfaces import TangoModel
from mapper.mapping.model import TabularModel

MANIFEST = "code.json"
MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\.py")
CLASS = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", re.ASCII)
MAX_FILES = 20
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Code:
    """A class `module:Class`; with `files`, the modules that a version carries for it."""

    name: str
    files: Table[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 over the class's name and its modules; of an installed class, over its module.

        Raises MappingError if that module is not installed.
        """
        sha = hashlib.sha256(self.name.encode())
        files = self.files
        if not files:
            try:
                spec = importlib.util.find_spec(self.name.partition(":")[0])
            except (ImportError, ValueError) as error:
                raise MappingError(f"Cannot load {self.name}: {type(error).__name__}: {error}") from error
            origin = Path(spec.origin) if spec is not None and spec.origin else None
            files = {origin.name: origin.read_bytes()} if origin is not None and origin.is_file() else {}
        for name in sorted(files):
            sha.update(b"\0%b\0%b" % (name.encode(), hashlib.sha256(files[name]).digest()))
        return sha.hexdigest()

    def manifest(self) -> bytes:
        """The text of `code.json`."""
        return orjson.dumps({"class": self.name, "files": sorted(self.files)}, option=orjson.OPT_INDENT_2)


def read_manifest(text: bytes) -> tuple[str, list[str]]:
    """Class and names of modules in a `code.json`; raises MappingError."""
    try:
        content = orjson.loads(text)
        name, files = content["class"], content["files"]
        fits = CLASS.fullmatch(name) and 0 < len(files) <= MAX_FILES and all(map(MODULE.fullmatch, files))
    except (KeyError, TypeError, ValueError) as error:
        raise MappingError(f"{MANIFEST} of the version is not a manifest of code: {error}.") from error
    if not fits or f"{name.partition(':')[0]}.py" not in files:
        raise MappingError(f"{MANIFEST} of the version names no class `module:Class` of its own modules.")
    return name, files


def read_code(source: str) -> Code:
    """Code from `path/to/module.py:Class`; raises MappingError."""
    path, _, name = source.rpartition(":")
    file = Path(path)
    if not MODULE.fullmatch(file.name) or not file.is_file():
        raise MappingError(f"{source}: path/to/module.py:Class of an existing file expected.")
    content = file.read_bytes()
    if len(content) > MAX_BYTES:
        raise MappingError(f"{file} has {len(content)} bytes; the limit is {MAX_BYTES}.")
    return Code(f"{file.stem}:{name}", {file.name: content})


def load_class(code: Code) -> type[TangoModel]:
    """The class; raises MappingError if it cannot be imported or lacks a method.

    This runs the code: the caller has to be allowed to.
    """
    found = CLASS.fullmatch(code.name)
    if found is None:
        raise MappingError(f"{code.name!r} given, package.module:Class expected.")
    module_name, name = found.groups()
    try:
        module = _carried(code, module_name) if code.files else importlib.import_module(module_name)
        made = getattr(module, name)
    except Exception as error:  # the code of others: whatever it raises, the reason is told
        raise MappingError(f"Cannot load {code.name}: {type(error).__name__}: {error}") from error
    missing = [part for part in ("map_request", "map_response", "form") if not hasattr(made, part)]
    if not inspect.isclass(made) or missing:
        raise MappingError(f"{code.name} is not a class with {', '.join(missing) or 'methods'}.")
    return cast("type[TangoModel]", made)


class _Modules(importlib.abc.Loader):
    """Loads modules from memory, as a package of their own: they import each other with a dot."""

    def __init__(self, files: Table[str, bytes]) -> None:
        self._files = files

    def exec_module(self, module: ModuleType) -> None:
        name = f"{module.__name__.rpartition('.')[2]}.py"
        exec(compile(self._files[name], f"<mapper code>/{name}", "exec"), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str, files: Table[str, bytes]) -> None:
        self._package = package
        self._files = files

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package == self._package and f"{name}.py" in self._files:
            return ModuleSpec(fullname, _Modules(self._files))
        return None


def _carried(code: Code, module_name: str) -> ModuleType:
    package = f"mapper_code_{code.digest[:16]}"
    if package not in sys.modules:
        module = ModuleType(package)
        module.__path__ = []  # a package, so that its modules can import each other
        sys.modules[package] = module
        sys.meta_path.append(_Finder(package, dict(code.files)))
    return importlib.import_module(f"{package}.{module_name}")


@dataclass(frozen=True)
class Form:
    """The outside of a class: JSON Schemas of a record and of a row's answer."""

    record: dict[str, Any]
    answer: dict[str, Any]

    @property
    def example(self) -> Any:
        """The first of the record's examples."""
        return self.record["examples"][0]

    def document(self, model: TabularModel) -> dict[str, Any]:
        """What /v1/schema gives."""
        name = model.schema.model_name
        return {"model_name": name, "record": self.record, "answer": self.answer}


def make(made: type[TangoModel], model: object, name: str) -> TangoModel:
    """An object of the class; raises MappingError if its constructor fails."""
    try:
        return made(model)  # type: ignore[call-arg]  # as the contract of the class has it
    except Exception as error:  # the code of others
        raise MappingError(f"{name} cannot be made of a model: {type(error).__name__}: {error}") from error


def read_form(model: TangoModel, name: str) -> Form:
    """What `form()` gives; raises MappingError if it is not what it should be."""
    try:
        given = model.form()  # type: ignore[attr-defined]  # checked by `load_class`
        record, answer = given["record"], given["answer"]
        orjson.dumps([record, answer])
        fits = record["type"] == "object" and isinstance(record["properties"], dict)
        fits = fits and isinstance(answer, dict) and isinstance(record["examples"][0], dict)
    except Exception as error:  # the code of others
        raise MappingError(f"{name}.form() failed: {type(error).__name__}: {error}") from error
    if not fits:
        raise MappingError(
            f"{name}.form() has to give `record`, a JSON Schema of an object with `properties` and "
            f"`examples`, and `answer`, a JSON Schema; {shown(record)} and {shown(answer)} given."
        )
    return Form(record, answer)


def place_of(error: BaseException) -> str:
    """Where an exception of someone's code arose, without its message, which may hold values of a row.

    Examples
    --------
    >>> try:
    ...     {}["secret"]
    ... except KeyError as error:
    ...     print(place_of(error).partition(" at ")[0])
    KeyError
    """
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return type(error).__name__
    return f"{type(error).__name__} at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
