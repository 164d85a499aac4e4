"""Pages of the reference, from the tables that the code itself works by."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mapper.cli.main as mapper_main
from mapper.http.openapi import ROUTES
from mapper.http.problem import PROBLEMS
from mapper.http.settings import PREFIX, MapperSettings
from mapper.mapping.answer import ANSWER_FIELDS, ROW_FIELDS
from mapper.mapping.parameters import PARAMETERS
from proto_model.cli.main import COMMANDS
from proto_model.files.transfer.settings import PREFIX as FILES_PREFIX
from proto_model.files.transfer.settings import FileSettings
from proto_model.parameters import FILE, ROWS, parameters_of
from proto_model.registry.settings import TrainingSettings
from proto_model.serving.http.errors import STATUS
from proto_model.serving.http.settings import NUMBERS, ServerSettings

__all__ = ["pages"]

ROOT = Path(__file__).resolve().parents[2]
WIDTH = "96"  # of help texts, in characters
MACHINE = "by the machine"


def pages() -> dict[str, str]:
    """Markdown of each page, by its path in the site."""
    written = {
        "commands": _commands(),
        "training": _training(),
        "requests": _requests(),
        "settings": _settings(),
        "errors": _errors(),
        "schemas": _schemas(),
    }
    return {f"reference/{name}.md": "\n\n".join(parts) + "\n" for name, parts in written.items()}


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [tuple(head), *(tuple(row) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |" for line in lines)


def _code(value: Any) -> str:
    """A value as code; nothing for none."""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if value not in (None, "") else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _commands() -> list[str]:
    parts = [
        "# Commands",
        "What each command prints with `--help`. `proto-model` is short for `python -m proto_model`, and "
        "`proto-mapper` for `python -m mapper`.",
        _table(
            ("command", ""), ((f"[`{name}`](#{name})", _sentence(said[0])) for name, said in COMMANDS.items())
        ),
    ]
    with patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}):
        for name in COMMANDS:
            module = importlib.import_module(f"proto_model.cli.{name.replace('-', '_')}")
            parts += [f"## {name}", *_help(module.build_parser())]
        parts += ["## python -m mapper", *_help(mapper_main.build_parser())]
    return parts


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Help text of a parser, and of each of its commands."""
    yield f"```text\n{parser.format_help().rstrip()}\n```"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield f"### {parser.prog.split()[-1]} {name}"
                yield from _help(below)


def _training() -> list[str]:
    rows = (
        (f"`{setting.name}`", _code(setting.default), _sentence(setting.metadata["help"]))
        for setting in dataclasses.fields(TrainingSettings)
    )
    return [
        "# Training parameters",
        "Give one to `mlflow run` as `-P name=value`, or to `python -m proto_model train` as `--name "
        "value`, with "
        "dashes for underscores. [Training](../docs/training.md) says when to use which.",
        _table(("parameter", "default", ""), rows),
    ]


def _requests() -> list[str]:
    rows, files = (
        (
            (
                f"`{row.name}`",
                "" if row.is_off_by_default else _code(row.default),
                row.expected,
                _sentence(row.help),
            )
            for row in parameters_of()
            if (ROWS in row.of) == (signature == ROWS)
        )
        for signature in (ROWS, FILE)
    )
    of_mapper = (
        (f"`{row.name}`", row.use, _code(row.default), row.kind.text, _sentence(row.text))
        for row in PARAMETERS
    )
    answer, row = (
        ((f"`{field.name}`", _sentence(field.text)) for field in fields)
        for fields in (ANSWER_FIELDS, dict.fromkeys(chain(*ROW_FIELDS.values())))
    )
    return [
        "# Request parameters and answers",
        "## Parameters of the model servers",
        "Sent in `params` of a request to `/invocations`, or in `parameters` of an Open Inference Protocol "
        "request.",
        _table(("parameter", "default", "takes", ""), rows),
        "A model for files takes these as well:",
        _table(("parameter", "default", "takes", ""), files),
        "## Routes of the mapper",
        _table(
            ("route", ""), ((f"`{route.method} {route.path}`", _sentence(route.text)) for route in ROUTES)
        ),
        "## Parameters of the mapper",
        "Sent in `parameters` of a request to `/v1/predict` or `/v1/explain`. `explain` marks those that "
        "only "
        "`/v1/explain` takes, `file` those of requests for files.",
        _table(("parameter", "requests", "default", "takes", ""), of_mapper),
        "## Fields of the mapper's answer",
        _table(("field", ""), answer),
        "Each of `predictions` has:",
        _table(("field", ""), row),
    ]


def _settings() -> list[str]:
    of_mapper = (
        (
            f"`{PREFIX}{setting.name.upper()}`",
            f"`--{(setting.metadata['flag'] or setting.name).removeprefix('--').replace('_', '-')}`",
            _code(setting.default),
            _sentence(setting.metadata["help"]),
        )
        for setting in dataclasses.fields(MapperSettings)
    )
    server = {setting.name: setting for setting in dataclasses.fields(ServerSettings)}
    of_server = (
        (
            f"`--{name.replace('_', '-')}`",
            MACHINE if server[name].default is dataclasses.MISSING else _code(server[name].default),
            _sentence(text),
        )
        for name, (_, _, text) in NUMBERS.items()
    )
    of_files = (
        (f"`{FILES_PREFIX}{setting.name.upper()}`", _code(setting.default) or "none")
        for setting in dataclasses.fields(FileSettings)
    )
    return [
        "# Settings",
        "## The mapper",
        "A flag comes before its variable, and a variable before the default.",
        _table(("variable", "flag of `mapper serve`", "default", ""), of_mapper),
        "## The lean server",
        "Limits of `python -m proto_model serve`; [the command](commands.md#serve) has further options.",
        _table(("flag", "default", ""), of_server),
        "## File jobs",
        "Variables of every server and command that reads or writes files by URL. "
        "[Files](../docs/files.md) says what to allow.",
        _table(("variable", "default"), of_files),
    ]


def _errors() -> list[str]:
    problems = sorted(
        (kind.status, f"`{kind.name}`", _sentence(kind.title), _sentence(_first_line(error)))
        for error, kind in PROBLEMS.items()
    )
    of_server = (
        (status, f"`{code}`", _sentence(_first_line(error))) for error, (status, code) in STATUS.items()
    )
    return [
        "# Errors",
        "## The mapper",
        "Errors are problem details (RFC 9457, `application/problem+json`) with `type`, `title`, `status`, "
        "`detail` "
        "and `request_id`. `type` ends with the name below. `errors` lists the faults of a request that "
        "does not "
        "fit the model; `error_count` says how many there are.",
        _table(("status", "name", "title", "when"), problems),
        "## The lean server",
        "Errors have MLflow's form, `error_code` and `message`; those of the Open Inference Protocol have "
        "`error`.",
        _table(("status", "code", "when"), of_server),
    ]


def _first_line(error: type[Exception]) -> str:
    return (error.__doc__ or "").strip().splitlines()[0]


def _schemas() -> list[str]:
    parts = [
        "# Schemas",
        "JSON Schemas of what the model's side and the mapper exchange. The repository has them in "
        "`schemas/`, and "
        "every writer and reader is tested against them.",
    ]
    for path in sorted((ROOT / "schemas").glob("*.schema.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        parts += [
            f"## {document.get('title', path.name)}",
            " ".join(
                filter(None, (f"[`{path.name}`](../schemas/{path.name}).", document.get("description")))
            ),
            *_keys(document),
        ]
    return parts


def _keys(document: Mapping[str, Any]) -> Iterator[str]:
    """Table of the keys of an object, and of each object that it defines."""
    objects = {"": document} | {f"`{name}`": part for name, part in document.get("$defs", {}).items()}
    for name, part in objects.items():
        if keys := part.get("properties"):
            required = part.get("required", ())
            rows = (
                (f"`{key}`", "yes" if key in required else "", _kind(value), value.get("description", ""))
                for key, value in keys.items()
            )
            if name:
                yield f"{name}:"
            yield _table(("key", "required", "is", ""), rows)


def _kind(value: Mapping[str, Any]) -> str:
    """What a value is, in a few words."""
    if "$ref" in value:
        return f"`{value['$ref'].rpartition('/')[2]}`"
    if "const" in value:
        return _code(value["const"])
    if "enum" in value:
        return " or ".join(map(_code, value["enum"])) if len(value["enum"]) <= 6 else "one of a list"
    if some := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(filter(None, map(_kind, some))))
    kinds = value.get("type", "")
    text = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    of = _kind(value["items"]) if "items" in value else ""
    return f"{text} of {of}" if of else text
