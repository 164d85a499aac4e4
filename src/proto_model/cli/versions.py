"""List, show, edit, publish, delete and prune the versions of a registered model, and read their history.

Example: python -m proto_model versions list --search eu --sort log_loss

Models and versions are given as name, name/7, name@alias, models:/name/7 or models:/name@alias. Tables go to
standard output, as JSON with --json. Exit status: 0 done, 1 refused or failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.cli.registry_command import confirmed, parser_with_actions, run_action, say
from proto_model.errors import InputError, counted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.console import Console

    from proto_model.registry.catalog.editing import Edit

DEFAULT_MODEL = "proto_model"
MAX_FILE_BYTES = 100_000

_NUMBER = re.compile(r"[+-]?\.\d+(?:[eE][+-]?\d+)?|[+-]?\d+\.(?:[eE][+-]?\d+)?", re.ASCII)  # no JSON
_UNSIGNED = "Nobody signed it, so servers with a verify key refuse it."
_VERSION = "name@alias, name/7, or either after models:/"


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser, action = parser_with_actions("versions", __doc__)

    _add_list(action("list", "list versions"))
    show = action("show", "show all that is known of a version")
    show.add_argument("version", metavar="VERSION", help=f"{_VERSION}; a name alone: its newest version")
    _add_edit(action("edit", "change description, labels, config, hyperparameters or records of a version"))
    publish = action("publish", "publish a version, after which it does not change any more")
    publish.add_argument("version", metavar="VERSION", help=_VERSION)
    publish.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="private key that signs it (default: PROTO_MODEL_SIGNING_KEY)",
    )
    delete = action("delete", "delete a version; its number is never used again")
    delete.add_argument("version", metavar="VERSION", help=_VERSION)
    delete.add_argument("--reason", default="", help="why; it is kept")
    delete.add_argument(
        "--force", action="store_true", help="although it has an alias, is published or is deployed"
    )
    delete.add_argument("--yes", action="store_true", help="do not ask")
    prune = action("prune", "delete old versions that have no alias, and are not published or deployed")
    prune.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL", help="(default: %(default)s)"
    )
    prune.add_argument(
        "--keep", type=_count, default=30, metavar="N", help="newest versions to keep (default: %(default)s)"
    )
    prune.add_argument("--reason", default="", help="why; it is kept")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    prune.add_argument("--yes", action="store_true", help="do not ask")
    history = action("history", "who did what with the versions, and when, the newest last")
    history.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL", help="(default: %(default)s)"
    )
    history.add_argument("--version", type=_count, metavar="N", help="of this version only")
    return parser


def _add_list(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL", help="(default: %(default)s)"
    )
    which.add_argument("--all", action="store_true", help="the versions of all models")
    parser.add_argument(
        "--search", default="", metavar="TEXT", help="in description, labels, aliases and tags"
    )
    parser.add_argument(
        "--sort",
        default="version",
        metavar="BY",
        help="version, created, name (of the model), or a metric such as log_loss (default: %(default)s); "
        "newest or best first",
    )
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--limit", type=_count, metavar="N", help="the first N only")
    parser.add_argument("--deleted", action="store_true", help="deleted versions instead")


def _add_edit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="VERSION", help=_VERSION)
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--description", metavar="MARKDOWN", help="new description")
    text.add_argument("--description-file", type=Path, metavar="FILE", help="file of the new description")
    more = "; may be repeated"
    parser.add_argument("--label", action="append", default=[], help=f"label to add{more}")
    parser.add_argument(
        "--remove-label", action="append", default=[], metavar="LABEL", help=f"to remove{more}"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML or JSON object, replaces the config"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"value in config, as JSON or text{more}",
    )
    parser.add_argument(
        "--unset", action="append", default=[], metavar="KEY", help=f"remove it from config{more}"
    )
    parser.add_argument(
        "--hyperparameters",
        type=Path,
        metavar="FILE",
        help="YAML or JSON object, in place of those of the run",
    )
    parser.add_argument(
        "--set-hyperparameter", action="append", default=[], metavar="KEY=VALUE", help=f"one of them{more}"
    )
    parser.add_argument(
        "--unset-hyperparameter", action="append", default=[], metavar="KEY", help="remove one"
    )
    parser.add_argument(
        "--record", action="append", default=[], metavar="URI", help=f"data set that it was trained on{more}"
    )
    parser.add_argument(
        "--remove-record", action="append", default=[], metavar="URI", help=f"to remove{more}"
    )
    parser.add_argument(
        "--clear",
        action="append",
        default=[],
        choices=("description", "labels", "config", "hyperparameters", "records"),
        help=f"empty it first{more}",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given, a whole number from 1 expected")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status."""
    arguments = build_parser().parse_args(argv)
    return run_action(_ACTIONS[arguments.action], arguments)


def _list(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.listing import (
        SORTS,
        matching,
        read_lines,
        read_tombstones,
        sorted_lines,
        with_metrics,
    )
    from proto_model.registry.catalog.naming import Named
    from proto_model.registry.catalog.tables import lines_table, tombstones_table

    named = None if arguments.all else Named.of(arguments.model)
    if arguments.deleted:
        if named is None:
            raise InputError("--deleted is about one model. Give its name instead of --all.")
        stones = read_tombstones(client, named)[: arguments.limit]
        shown.append([stone.to_dict() for stone in stones] if arguments.json else tombstones_table(stones))
        return 0
    lines = matching(read_lines(client, named), arguments.search)
    by_metric = arguments.sort not in SORTS
    if by_metric:  # of all, before the first few are taken
        lines = with_metrics(client, lines)
    lines = sorted_lines(lines, arguments.sort, reverse=arguments.reverse)[: arguments.limit]
    if not by_metric:
        lines = with_metrics(client, lines)
    if arguments.json:
        shown.append([line.to_dict() for line in lines])
    else:
        sort = arguments.sort.removeprefix("test_") if by_metric else ""
        shown.append(lines_table(lines, with_model=named is None, sort=sort))
    return 0


def _show(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.naming import Named
    from proto_model.registry.catalog.sheet import read_sheet
    from proto_model.registry.catalog.tables import sheet_table, tombstone_table
    from proto_model.registry.catalog.tombstones import Tombstone

    named = Named.of(arguments.version)
    sheet = read_sheet(client, named)
    if isinstance(sheet, Tombstone):
        content = {"name": named.model, "version": int(sheet.version), "deleted": sheet.to_dict()}
        shown.append(content if arguments.json else tombstone_table(named.model, sheet))
    else:
        shown.append(sheet.to_dict() if arguments.json else sheet_table(sheet))
    return 0


def _edit(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.editing import edit_version
    from proto_model.registry.catalog.tables import changes_table

    edited = edit_version(client, arguments.version, _edit_of(arguments), dry_run=arguments.dry_run)
    if edited.recovered:
        say(edited.recovered)
    if arguments.json:
        shown.append(edited.to_dict() | {"dry_run": arguments.dry_run})
    elif edited.changes:
        shown.append(changes_table(edited.changes))
    else:
        say(f"Version {edited.version} of {edited.model!r} is like that already.")
    return 0


def _edit_of(arguments: argparse.Namespace) -> Edit:
    from proto_model.registry.catalog.editing import Edit

    description = arguments.description
    if arguments.description_file:
        description = _file_text(arguments.description_file)
    return Edit(
        description=description,
        labels=tuple(arguments.label),
        drop_labels=tuple(arguments.remove_label),
        config=_file_object(arguments.config),
        set_config=_pairs("--set", arguments.set),
        unset_config=tuple(arguments.unset),
        hyperparameters=_file_object(arguments.hyperparameters),
        set_hyperparameters=_pairs("--set-hyperparameter", arguments.set_hyperparameter),
        unset_hyperparameters=tuple(arguments.unset_hyperparameter),
        records=tuple(arguments.record),
        drop_records=tuple(arguments.remove_record),
        clear=tuple(arguments.clear),
    )


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise InputError(f"{path} has more than {MAX_FILE_BYTES:,} bytes, which MLflow does not keep.")
        return content.decode("utf-8-sig").strip()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8.") from error


def _file_object(path: Path | None) -> Any:
    """Content of a YAML or JSON file."""
    import yaml

    if path is None:
        return None
    from proto_model.registry.details import checked_object

    try:
        content = yaml.safe_load(_file_text(path))  # JSON is YAML, too
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path} is no YAML and no JSON: {' '.join(str(error).split())[:200]}") from error
    return checked_object(str(path), content)


def _pairs(flag: str, items: Sequence[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{flag} {item!r} given, KEY=VALUE expected.")
        if key in pairs:
            raise InputError(f"{flag} sets {key!r} twice. Give it once.")
        pairs[key] = _read_value(text)
    return pairs


def _read_value(text: str) -> Any:
    """A value as JSON has it, or a number such as .4; any other is a text."""
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _publish(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.naming import living_version
    from proto_model.registry.publishing import publish, signing_key

    version = living_version(client, arguments.version)
    key = signing_key(arguments.key)
    publish(f"models:/{version.name}/{version.version}", key=key, client=client)
    signer = None if key is None else key.fingerprint
    signed = f"It is signed with {signer}." if signer else _UNSIGNED
    say(f"Published version {version.version} of {version.name!r}. It does not change any more. {signed}")
    if arguments.json:
        tags = client.get_model_version(version.name, str(version.version)).tags
        names = ("published_at", "published_by", "manifest_sha256")
        facts = {"name": version.name, "version": int(version.version), "signer": signer}
        shown.append(facts | {name: tags.get(name) for name in names})
    return 0


def _delete(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.removal import check_removable, delete_version, planned_removal

    plan = planned_removal(client, arguments.version)
    check_removable(plan, force=arguments.force)
    what = f"version {plan.version} of {plan.model!r}"
    if plan.obstacles:
        say(f"{what.capitalize()} {' and '.join(plan.obstacles)}.")
    twins = f" and {counted(len(plan.explainers), 'explainer')}" if plan.explainers else ""
    if not confirmed(f"Delete {what}{twins}?", arguments.yes):
        return 1
    done, stone = delete_version(
        client, f"{plan.model}/{plan.version}", reason=arguments.reason, force=arguments.force
    )
    say(f"Deleted {what}{twins}. {done.left}")
    if arguments.json:
        shown.append(done.to_dict() | {"deleted": stone.to_dict()})
    return 0


def _prune(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.naming import Named
    from proto_model.registry.catalog.removal import prunable, prune

    named = Named.of(arguments.model)
    if named.is_version:
        raise InputError(f"{arguments.model!r} names a version; prune takes a model.")
    doomed, spared = prunable(client, named.model, arguments.keep)
    numbers = [removal.version for removal in doomed]
    spares = {line.version: line for line in spared}
    listed = f"{counted(len(doomed), 'version')} of {named.model!r}"
    say(
        f"{listed} older than the newest {arguments.keep}: {_ranges(numbers) or 'none'}. "
        f"Spared, for they have an alias, are published or deployed: {_ranges(list(spares)[::-1]) or 'none'}."
    )
    done: list[str] = []
    stayed: dict[str, str] = {}
    if doomed and not arguments.dry_run:
        if not confirmed(f"Delete {listed}?", arguments.yes):
            return 1
        reason = arguments.reason or f"pruned to the newest {arguments.keep}"
        with console.status("Deleting ..."):
            done, stayed = prune(client, doomed, reason=reason)
        for number, why in stayed.items():
            say(f"Version {number} stays: {why}")
        say(f"Deleted {counted(len(done), 'version')}. Runs and logged models are left in MLflow.")
    if arguments.json:
        shown.append(
            {
                "name": named.model,
                "keep": arguments.keep,
                "dry_run": arguments.dry_run,
                "prunable": [int(number) for number in numbers],
                "spared": [int(number) for number in spares],
                "deleted": [int(number) for number in done],
                "stayed": {int(number): why for number, why in stayed.items()},
            }
        )
    return 1 if stayed else 0


def _history(arguments: argparse.Namespace, client: MlflowClient, shown: list[Any], console: Console) -> int:
    from proto_model.registry.catalog.history import history
    from proto_model.registry.catalog.naming import Named
    from proto_model.registry.catalog.tables import history_table

    named = Named.of(arguments.model)
    if arguments.version is not None:
        if named.is_version:
            raise InputError(f"{arguments.model!r} names a version already; leave out --version.")
        named = Named(named.model, version=str(arguments.version))
    entries = history(client, named)
    shown.append([entry.to_dict() for entry in entries] if arguments.json else history_table(entries))
    return 0


def _ranges(numbers: Sequence[str]) -> str:
    """Ascending numbers, neighbours as ranges.

    Examples
    --------
    >>> _ranges(["1", "2", "3", "7"])
    '1 to 3, 7'
    """
    parts: list[list[int]] = []
    for number in map(int, numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in parts)


_ACTIONS = {
    "list": _list,
    "show": _show,
    "edit": _edit,
    "publish": _publish,
    "delete": _delete,
    "prune": _prune,
    "history": _history,
}
