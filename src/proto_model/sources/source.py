"""A model source: a Python file whose tags say which of its functions does what.

Reading one runs nothing of it.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from proto_model.sources.errors import SourceError
from proto_model.sources.tags import ROLES, USUAL_NAMES, RoleTag, SchemaTag, read_tags

MAX_SOURCE_BYTES = 4 * 1024 * 1024
N_SPARK_ARGUMENTS = 3
"""`f(input_files, output_files, model_attachment_files)`: what a source for Spark takes."""


@dataclass(frozen=True)
class Function:
    """A function of a source, by its role."""

    role: str
    name: str
    line: int
    n_required: int
    n_most: int | None  # None: any number

    def takes(self, n_arguments: int) -> bool:
        """Whether it can be called with so many arguments."""
        return self.n_required <= n_arguments and (self.n_most is None or n_arguments <= self.n_most)

    @property
    def is_spark(self) -> bool:
        """Whether it takes files of inputs, outputs and attachments, rather than rows."""
        return self.n_required == N_SPARK_ARGUMENTS


@dataclass(frozen=True)
class Source:
    """A model source that was read.

    Attributes
    ----------
    name : str
        What messages call it.
    content : bytes
        The file.
    functions : mapping of str to Function
        By role: init, score, metrics, training.
    schema_names : mapping of int to str
        Names of the Avro schemas' files by slot; even slots are of the input, odd ones of the output.
    folder : Path
        Where these files are looked for.
    """

    name: str
    content: bytes
    functions: Mapping[str, Function]
    schema_names: Mapping[int, str]
    folder: Path

    @classmethod
    def read(cls, path: Path) -> Source:
        """Source of a file; a SourceError says in which line what is wrong."""
        try:
            if path.stat().st_size > MAX_SOURCE_BYTES:
                raise SourceError(
                    f"{path} has more than {MAX_SOURCE_BYTES:,} bytes. Put data into an attachment."
                )
            content = path.read_bytes()
        except OSError as error:
            raise SourceError(f"Cannot read the source {path}: {error.strerror}.") from error
        return cls.of(content, path.name, path.parent)

    @classmethod
    def of(
        cls,
        content: bytes,
        name: str = "the source",
        folder: Path | None = None,
        named: Mapping[str, str] | None = None,
    ) -> Source:
        """Source of the bytes of a file; `folder` is where its schemas are.

        `named` are names of functions by role, which take the place of tags.
        """
        try:
            encoding = tokenize.detect_encoding(io.BytesIO(content).readline)[0]
            text = io.TextIOWrapper(io.BytesIO(content), encoding).read()
            tree = ast.parse(content, name)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            told = error.msg if isinstance(error, SyntaxError) else str(error)
            raise SourceError(f"{name}{line}: this is not Python: {told}. Correct it.") from error
        tags = list(read_tags(text, name))
        functions = _functions(tree, [tag for tag in tags if isinstance(tag, RoleTag)], name)
        functions |= _named(tree, named or {}, name)
        return cls(
            name=name,
            content=content,
            functions={role: functions[role] for role in ROLES if role in functions},
            schema_names=_schema_names([tag for tag in tags if isinstance(tag, SchemaTag)], name),
            folder=folder or Path(),
        )

    def function(self, role: str) -> Function:
        """The function of a role; a SourceError says that there is none, and how to name one."""
        if role not in ROLES:
            raise SourceError(f"function {role!r} given, one of {', '.join(ROLES)} expected.")
        if role not in self.functions:
            known = ", ".join(f"{one.role} ({one.name})" for one in self.functions.values())
            raise SourceError(
                f"{self.name} has no {role} function; it has {known or 'none'}. Write the line "
                f"`# modelop.{role}` above the function, or call it {USUAL_NAMES[role]}."
            )
        return self.functions[role]

    @property
    def input_schema(self) -> str | None:
        """Name of the file of the input's schema."""
        return self._schema_of(0)

    @property
    def output_schema(self) -> str | None:
        """Name of the file of the output's schema."""
        return self._schema_of(1)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def _schema_of(self, remainder: int) -> str | None:
        slots = sorted(slot for slot in self.schema_names if slot % 2 == remainder)
        return self.schema_names[slots[0]] if slots else None


def identity(source: Source, files: Mapping[str, str], schemas: Mapping[str, str]) -> str:
    """SHA-256 that two models share when they are the same: code, attached files and schemas.

    `files` and `schemas` are SHA-256 by name. How a file was packed does not count.
    """
    essence = {"source": source.sha256, "files": dict(files), "schemas": dict(schemas)}
    return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()


def _functions(tree: ast.Module, tags: list[RoleTag], name: str) -> dict[str, Function]:
    """Functions by role, tagged ones first."""
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    last = {node.name: node for node in defined}
    found: dict[str, Function] = {}
    for tag in tags:
        node = _below(tag, tree, name)
        if tag.role in found:
            raise SourceError(
                f"{name}, line {tag.line}: modelop.{tag.role} is there twice, first for "
                f"{found[tag.role].name} in line {found[tag.role].line}. Remove one of them."
            )
        if last[node.name] is not node:
            raise SourceError(
                f"{name}, line {node.lineno}: line {last[node.name].lineno} defines {node.name} again, which "
                "then has no tag. Rename one of them."
            )
        found[tag.role] = _function(tag.role, node, name)
    tagged = {function.name for function in found.values()}
    for role, usual in USUAL_NAMES.items():
        if role not in found and usual in last and usual not in tagged:
            found[role] = _function(role, last[usual], name)
    return {role: found[role] for role in ROLES if role in found}


def _named(tree: ast.Module, named: Mapping[str, str], name: str) -> dict[str, Function]:
    last = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for role, wanted in named.items():
        if wanted not in last:
            raise SourceError(
                f"{name} has no function {wanted}, which is named as its {role} function; it has "
                f"{', '.join(last) or 'none'}. Correct the name."
            )
    return {role: _function(role, last[wanted], name) for role, wanted in named.items()}


def _below(tag: RoleTag, tree: ast.Module, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The function that stands below a tag, with its decorators."""
    starts = [(min([node.lineno, *_decorators(node)]), node) for node in tree.body]
    following = next((node for start, node in starts if start > tag.line), None)
    inside = any(start <= tag.line <= (node.end_lineno or start) for start, node in starts)
    if inside or not isinstance(following, ast.FunctionDef | ast.AsyncFunctionDef):
        raise SourceError(
            f"{name}, line {tag.line}: no function follows # modelop.{tag.role}. Put the tag on the line "
            "above a function that is not inside another one."
        )
    return following


def _decorators(node: ast.stmt) -> list[int]:
    return [one.lineno for one in getattr(node, "decorator_list", ())]


def _function(role: str, node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Function:
    where = f"{name}, line {node.lineno}: {node.name}"
    if isinstance(node, ast.AsyncFunctionDef):
        raise SourceError(
            f"{where} is async, which no runtime of ModelOp's waits for. Write a plain function."
        )
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    n_required = len(plain) - len(given.defaults)
    if any(default is None for default in given.kw_defaults):
        raise SourceError(f"{where} has an argument that must be named. Give it a default.")
    function = Function(role, node.name, node.lineno, n_required, None if given.vararg else len(plain))
    expected = 0 if role == "init" else 1
    # ModelOp calls a newer init with the job's metadata; one that needs it is called with an empty object.
    takes = function.takes(expected) or (role == "init" and n_required == 1)
    if not takes and not (role != "init" and function.is_spark):
        words = "no argument" if role == "init" else "one argument, or three if it is for Spark"
        raise SourceError(
            f"{where} takes {n_required} arguments as the {role} function. Let it take {words}."
        )
    return function


def _schema_names(tags: list[SchemaTag], name: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for tag in tags:
        if tag.slot in names:
            raise SourceError(
                f"{name}, line {tag.line}: modelop.schema.{tag.slot} is there twice. Remove one."
            )
        if Path(tag.name).name != tag.name:
            raise SourceError(
                f"{name}, line {tag.line}: schema {tag.name!r} leads to another folder. Put the file beside "
                "the source, and give its name only."
            )
        names[tag.slot] = tag.name
    return names
