"""Run, show, serve or register a model source: a Python file with ModelOp's smart tags.

Example: python -m proto_model source run model.py --function score --data rows.csv --attachment model.zip
         python -m proto_model source show model.py --attachment model.zip
         python -m proto_model source serve model.py --attachment model.zip --port 8090
         python -m proto_model source register model.py --attachment model.zip --name churn

The tags `# modelop.init`, `# modelop.score`, `# modelop.metrics` and `# modelop.training` stand above the
functions that they name, `# modelop.schema.0: input.avsc` names an Avro schema. All but show run
the source, with your rights: run only what you trust. docs/sources.md says more.
Exit status: 0 done, 1 the source failed or refused every record, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.cli.exit_code import exit_code
from proto_model.cli.parser import CommandParser, amount, port
from proto_model.errors import counted
from proto_model.sources.limits import MOST, Limits
from proto_model.sources.tags import ROLES

if TYPE_CHECKING:
    from proto_model.sources import Options, Outcome

_LIMITS = Limits()
_MAX_LOG_LINES = 40


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser("source", __doc__)
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    _add_run(_action(actions, "run", "run a function of a source on a file of records"))
    show = _action(actions, "show", "show functions, schemas and identity of a source; nothing is run")
    show.add_argument("--json", action="store_true", help="JSON instead of words")
    serve = _action(actions, "serve", "serve the score function of a source over HTTP, on this machine only")
    serve.add_argument(
        "-p",
        "--port",
        type=port,
        default=8090,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    _add_options(serve)
    _add_register(
        _action(actions, "register", "make a source a version, to be served, compared and promoted")
    )
    return parser


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False
    )
    added.add_argument("source", type=Path, metavar="SOURCE.py", help="the source")
    added.add_argument(
        "--attachment",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="zip archive to unpack into the working directory, or a file to put there; may be repeated",
    )
    return added


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--function", choices=ROLES, default="score", help="(default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="records: .json, .jsonl, .csv, .parquet or .avro"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file of JSON lines for what it gives (default: standard output)",
    )
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="new or empty folder for what it writes to outputDir/"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the summary as JSON, with the records if there is no --output",
    )
    _add_options(parser)


def _add_register(parser: argparse.ArgumentParser) -> None:
    from proto_model.cli.trust import add_trust

    parser.add_argument("--name", required=True, help="registered model that gets the version")
    parser.add_argument("--alias", default="", help="alias of the new version (default: none)")
    parser.add_argument(
        "--held-out",
        type=Path,
        metavar="FILE",
        help="rows with labels that it has not learned from, to be judged on",
    )
    parser.add_argument(
        "--target", default="", help="column of the labels (default: target, class, label or y)"
    )
    parser.add_argument("--tracking-uri", help="MLflow server or store (default: MLFLOW_TRACKING_URI)")
    parser.add_argument("--json", action="store_true", help="print what was registered as JSON")
    _add_options(parser)
    add_trust(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schema-check",
        action="store_true",
        help="leave out records that do not fit the source's Avro schemas",
    )
    for name, default, unit, what in (
        ("timeout", _LIMITS.timeout_s, "S", "longest run time, in seconds"),
        ("cpu", None, "S", "seconds of CPU of each process (default: timeout times cores)"),
        ("memory", _LIMITS.memory_mb, "MB", "address space of each process"),
        ("output-size", _LIMITS.output_mb, "MB", "most that it may write and return"),
    ):
        told = what if default is None else f"{what} (default: {default:g})"
        parser.add_argument(
            f"--{name}",
            type=amount(float if unit == "S" else int, MOST),
            default=default,
            metavar=unit,
            help=told,
        )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME",
        help="environment variable to pass on; secrets are not passed otherwise; may be repeated",
    )
    parser.add_argument(
        "--python", default=sys.executable, help="Python with the libraries that it needs (default: this one)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status."""
    arguments = build_parser().parse_args(argv)
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "show": _show,
        "serve": _serve,
        "register": _register,
    }
    return exit_code(lambda: actions[arguments.action](arguments))


def given_options(arguments: argparse.Namespace) -> Options:
    """Options that `_add_options` read."""
    from proto_model.sources import Options

    limits = Limits(arguments.timeout, arguments.memory, arguments.cpu, arguments.output_size)
    return Options(limits, arguments.schema_check, arguments.python, tuple(arguments.env))


def _run(arguments: argparse.Namespace) -> int:
    from proto_model.sources import Source, run

    with _written(arguments.output, arguments.json) as (sink, keep):
        outcome = run(
            Source.read(arguments.source),
            arguments.function,
            arguments.data,
            attachments=arguments.attachment,
            output_dir=arguments.output_dir,
            options=given_options(arguments),
            sink=sink,
        )
        if not outcome.failure:
            keep()
    if arguments.json:
        records = {"records": outcome.records} if sink is None else {}
        print(json.dumps(outcome.to_dict() | records, ensure_ascii=False, indent=2))
    for line in _words(outcome, arguments):
        _say(line)
    return 0 if outcome.is_good else 1


@contextlib.contextmanager
def _written(
    output: Path | None, as_json: bool
) -> Iterator[tuple[Callable[[Any], None] | None, Callable[[], None]]]:
    """Sink of records, none if they are collected, and what to call when all are there; no file is before."""
    from proto_model.sources.session import json_line

    if output is None:
        if as_json:
            yield None, lambda: None
            return
        out = sys.stdout.buffer
        yield lambda record: _ignore(out.write(json_line(record))), out.flush
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".proto_model-", dir=output.parent) as aside:
        path = Path(aside, "records")
        with path.open("wb") as file:

            def keep() -> None:
                file.flush()
                path.replace(output)

            yield lambda record: _ignore(file.write(json_line(record))), keep


def _ignore(_: object) -> None:
    """Nothing: a sink gives nothing back."""


def _words(outcome: Outcome, arguments: argparse.Namespace) -> Iterator[str]:
    if outcome.log and (outcome.failure or not outcome.is_good):
        lines = outcome.log.rstrip().splitlines()
        yield "The source printed:"
        yield from (f"  {line}" for line in lines[-_MAX_LOG_LINES:])
    if not arguments.json:
        if outcome.function != "init":
            read, written = counted(outcome.n_in, "record"), counted(outcome.n_out, "output")
            place = f" to {arguments.output}" if arguments.output and not outcome.failure else ""
            yield f"{outcome.function}: {read} read, {written} written{place}, {outcome.seconds:.1f} s"
        for told, reasons in (("left out", outcome.rejected), ("not written", outcome.dropped)):
            for reason, n in reasons.most_common():
                yield f"  {n:,} {told}: {reason}"
        for name in outcome.assets:
            yield f"  kept: {arguments.output_dir / name}"
        for note in outcome.notes:
            yield f"  {note}"
        yield f"  model {outcome.digest}"
    if outcome.failure:
        yield f"error: {outcome.failure}"
    elif not outcome.is_good:
        yield "error: no record was taken."


def _show(arguments: argparse.Namespace) -> int:
    from proto_model.sources import Source, unpacked

    source = Source.read(arguments.source)
    with unpacked(source, arguments.attachment) as model:
        facts = {
            "source": source.name,
            "digest": model.digest,
            "functions": {
                role: {"name": one.name, "line": one.line, "spark": one.is_spark}
                for role, one in source.functions.items()
            },
            "schemas": {
                str(slot): {"file": name, "is_there": name in model.schemas}
                for slot, name in sorted(source.schema_names.items())
            },
            "files": dict(sorted(model.files.items())),
        }
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    print(f"{source.name}, model {model.digest}")
    for role, one in source.functions.items():
        spark = ", for Spark" if one.is_spark else ""
        print(f"  {role:<9} {one.name}, line {one.line}{spark}")
    for slot, name in sorted(source.schema_names.items()):
        there = "" if name in model.schemas else ", which is not there"
        print(f"  schema.{slot}  {name}{there}")
    print(f"  {counted(len(model.files), 'file')} attached")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    import logging

    from proto_model.serving.source import SourceServer, serve_source
    from proto_model.sources import Source, unpacked

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    options = given_options(arguments)
    source = Source.read(arguments.source)
    with unpacked(source, arguments.attachment, needs_schemas=options.schema_check) as model:
        return serve_source(model, options, SourceServer(arguments.port))


def _register(arguments: argparse.Namespace) -> int:
    from proto_model.cli.trust import given_trust
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    import mlflow

    from proto_model.deployment.modelop.registering import register
    from proto_model.registry.model_source import HeldOut, RegisteredSource
    from proto_model.sources.stored import ALLOWED

    if arguments.tracking_uri:
        mlflow.set_tracking_uri(arguments.tracking_uri)
    done = register(
        arguments.source,
        arguments.attachment,
        arguments.name,
        options=given_options(arguments),
        held_out=None if arguments.held_out is None else HeldOut(arguments.held_out, arguments.target),
        alias=arguments.alias,
        trust=given_trust(arguments),
    )
    if not isinstance(done, RegisteredSource):
        words = f"{done.before.title} is now version {done.version} of {done.model!r}."
        print(json.dumps(done.to_dict(), indent=2, ensure_ascii=False) if arguments.json else words)
        return 0
    if arguments.json:
        print(json.dumps(vars(done), indent=2))
        return 0
    judged = "".join(f", {name.replace('_', ' ')} {value:.4f}" for name, value in done.metrics.items())
    print(f"{arguments.source.name} is now version {done.version} of {done.name!r}{judged}.")
    _say(f"It runs its own code. Where that may be: export {ALLOWED}={done.digest}")
    return 0


def _say(text: str) -> None:
    # Whatever a source prints or raises: a terminal obeys none of it.
    shown = "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)
    print(shown.encode(errors="backslashreplace").decode(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
