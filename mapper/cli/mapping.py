"""`mapping`: check an application's own mapping before it travels with a version."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import orjson

from mapper.application.code import MANIFEST, read_code
from mapper.application.files import MAPPING, read_file
from mapper.application.model import check_mapping
from mapper.application.service import Application
from mapper.cli.predict import MODEL_HELP, REGISTRY_HELP
from mapper.cli.tables import schema_table, terminal_width
from mapper.errors import InvalidRequestError, MapperError, MappingError
from mapper.mapping.model import TabularModel
from mapper.registry import find_model


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    mapping = commands.add_parser(
        "mapping",
        help="check an application's own mapping",
        description="Check an application's own mapping between its words and the model's.",
    )
    actions = mapping.add_subparsers(dest="action", required=True)
    check = actions.add_parser(
        "check",
        help="check a mapping.yaml, or a class",
        description="Check a mapping.yaml, or a class (path/to/module.py:Class, which is run), against a "
        "model, and show what a client then sends.",
        epilog="Example: python -m mapper mapping check mapping.yaml --model models:/proto_model@champion",
    )
    check.add_argument("file", metavar="FILE", help="mapping.yaml, or path/to/module.py:Class")
    check.add_argument("--schema", "--model", dest="schema", metavar="MODEL", required=True, help=MODEL_HELP)
    check.add_argument("--registry-url", default="", metavar="URL", help=REGISTRY_HELP)
    check.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write what a version carries to this folder",
    )
    check.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    schema = find_model(args.schema, args.registry_url, os.environ).schema
    if Path(args.file).suffix in (".yaml", ".yml", ".json"):
        content = read_file(Path(args.file))
        model = check_mapping(content, schema)
        files = {MAPPING: content}
        print(schema_table(model.schema, terminal_width()))
        example: object = model.schema.typical_record
    else:
        code = read_code(args.file)
        application = _checked_class(Application(TabularModel(schema), code))
        files = {MANIFEST: code.manifest(), **code.files}
        print(f"class {code.name}, sha256 {code.digest}")
        example = application.form.example if application.form else None
    print(f"\n{args.file} fits. A client sends, for example: {orjson.dumps({'data': example}).decode()}")
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (args.out / name).write_bytes(content)
        print(f"{', '.join(files)} written to {args.out}")
    return 0


def _checked_class(application: Application) -> Application:
    """The application, whose class maps its own example to what the model takes."""
    form = application.form
    for explain in (False, True):
        try:
            application.mapped_by(explain=explain).map_request({"data": form.example if form else None})
        except InvalidRequestError as error:
            faults = "\n".join(f"  {fault}" for fault in error.errors)
            raise MappingError(f"The class does not map its own example:\n{faults}") from error
        except MapperError as error:
            cause = error.__cause__
            reason = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
            raise MappingError(f"The class does not map its own example: {reason}") from error
    return application
