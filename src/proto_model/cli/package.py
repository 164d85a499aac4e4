"""Write a version as a package, which needs no MLflow to be used; check one, or register it elsewhere.

Example: python -m proto_model package -m models:/proto_model@champion --out churn --zip
         python -m proto_model package check churn.zip
         python -m proto_model package import churn.zip --name churn

The package is a folder, or with --zip one file: the version, interface.py with load_model(), requirements.txt
and setup.sh for an environment, metadata.yaml, example.csv with expected predictions, README.md, and
MANIFEST.sha256. The same version gives the same bytes. It holds rows of the training table only if
the version was trained with background=rows.

check   makes a new environment, installs what the package lists, and compares predictions to the last bit
import  registers the version in the MLflow that MLFLOW_TRACKING_URI names, with its history

For the options of the two: python -m proto_model package check --help
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proto_model.cli.exit_code import exit_code
from proto_model.cli.model_uri import add_model_uri
from proto_model.cli.parser import CommandParser
from proto_model.cli.trust import add_trust, given_trust

_CHECK = """Check a package: its files, its publication, and that it predicts what it did when it was made.

Example: python -m proto_model package check churn.zip --python python3.13

It makes a new environment by the package's own setup.sh (with uv if that is installed), loads the model
there, predicts the rows of example.csv, and compares labels and probabilities to the last bit. That runs the
package's programs. With --require-published or --verify-key, they have to be those that this release writes.
"""

_IMPORT = """Register the version of a package in the MLflow that MLFLOW_TRACKING_URI names, with its history.

Example: python -m proto_model package import churn.zip --name churn --alias challenger

The new version gets description, tags, hyperparameters, metrics, model card, provenance and events of the old
one; the tag imported_from says which that was. Of a published version, manifest and signature are kept as
`origin/` of its run. To publish it here: python -m proto_model versions publish. Nothing of the package is
run. Unless all of it is as it was written, nothing is registered.
"""


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line without an action, which writes a package."""
    parser = _parser("package", __doc__ or "")
    add_model_uri(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write, which is new or empty"
    )
    parser.add_argument("--zip", action="store_true", help="write DIR.zip instead")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    add_trust(parser)
    return parser


def _check_parser() -> argparse.ArgumentParser:
    parser = _parser("package check", _CHECK)
    parser.add_argument("package", type=Path, metavar="DIR|ZIP", help="the package")
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PYTHON",
        help="Python of the environment (default: this one)",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    add_trust(parser)
    return parser


def _import_parser() -> argparse.ArgumentParser:
    parser = _parser("package import", _IMPORT)
    parser.add_argument("package", type=Path, metavar="DIR|ZIP", help="the package")
    parser.add_argument("--name", default="", help="registered model (default: of the same name as before)")
    parser.add_argument("--alias", default="", help="alias of the new version (default: none)")
    parser.add_argument(
        "--experiment", default="Default", help="experiment of its run (default: %(default)s)"
    )
    parser.add_argument("--tracking-uri", help="MLflow server or store (default: MLFLOW_TRACKING_URI)")
    parser.add_argument("--json", action="store_true", help="print what was registered as JSON")
    add_trust(parser)
    return parser


def _parser(name: str, text: str) -> argparse.ArgumentParser:
    return CommandParser(name, text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all is done, 1 when something failed, 2 for wrong arguments."""
    words = list(sys.argv[1:] if argv is None else argv)
    actions: dict[str, tuple[argparse.ArgumentParser, Callable[[argparse.Namespace], int]]] = {
        "check": (_check_parser(), _check),
        "import": (_import_parser(), _import),
    }
    if words and words[0] in actions:
        parser, action = actions[words.pop(0)]
    else:
        parser, action = build_parser(), _write
    arguments = parser.parse_args(words)
    if action is _write and arguments.out.suffix == ".zip" and not arguments.zip:
        parser.error(f"--out {arguments.out} would be a folder. Add --zip, or name it otherwise.")
    return exit_code(lambda: action(arguments))


def _write(arguments: argparse.Namespace) -> int:
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    from proto_model.deployment.package.writing import write_package

    done = write_package(
        arguments.model_uri, arguments.out, as_zip=arguments.zip, trust=given_trust(arguments)
    )
    if arguments.json:
        facts = {
            "path": str(done.path),
            "files": done.n_files,
            "bytes": done.n_bytes,
            "published": done.published,
        }
        print(json.dumps(facts | {"manifest_sha256": done.digest}, indent=2))
        return 0
    published = ", published" if done.published else ""
    _say(f"{done.title}{published}: {done.n_files} files, {done.n_bytes / 1e6:.1f} MB")
    print(done.path)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from proto_model.deployment.package.checking import check_package

    done = check_package(arguments.package, python=arguments.python, trust=given_trust(arguments), say=_say)
    if arguments.json:
        verdict = None if done.verdict is None else done.verdict.to_dict()
        print(json.dumps({"title": done.title, "said": list(done.said), "publication": verdict}, indent=2))
        return 0
    if done.verdict is not None:
        signed = f"signed with {done.verdict.signer}" if done.verdict.signer else "no signature was verified"
        print(f"The model is what was published at {done.verdict.published_at}; {signed}.")
    print("\n".join(done.said))
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    import mlflow

    from proto_model.deployment.package.importing import import_package

    if arguments.tracking_uri:
        mlflow.set_tracking_uri(arguments.tracking_uri)
    done = import_package(
        arguments.package,
        name=arguments.name,
        alias=arguments.alias,
        experiment=arguments.experiment,
        trust=given_trust(arguments),
    )
    if arguments.json:
        print(json.dumps(done.to_dict(), indent=2, ensure_ascii=False))
        return 0
    before = (
        f"version {done.before.version} of {done.before.model!r}"
        if done.before.version
        else done.before.model
    )
    print(f"{before} is now version {done.version} of {done.model!r}.")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
