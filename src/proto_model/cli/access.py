"""Show and change who may do what with a registered model on an MLflow server with basic-auth.

Example: python -m proto_model access grant rita --model proto_model READ

READ sees versions and serves them. EDIT also edits, publishes, promotes and rolls back. MANAGE also deletes,
and gives rights to others. Rights cover the model and its explainer's, with --experiment also the experiments
of their runs, where comparisons keep their reports. The name and password come from MLflow's variables
(MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD) or from ~/.mlflow/credentials. Exit status: 0 done, 1
refused or failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proto_model.cli.exit_code import exit_code
from proto_model.cli.registry_command import json_text, parser_with_actions

if TYPE_CHECKING:
    from rich.table import Table

    from proto_model.registry.access import AccessServer, Change, Holder, Resource

DEFAULT_MODEL = "proto_model"
RIGHTS = ("READ", "EDIT", "MANAGE")


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser, plain_action = parser_with_actions("access", __doc__)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        added = plain_action(name, summary)
        added.add_argument(
            "--model", default=DEFAULT_MODEL, metavar="NAME", help="registered model (default: %(default)s)"
        )
        added.add_argument(
            "--experiment", action="store_true", help="also the experiments of the runs of its versions"
        )
        return added

    grant = action("grant", "give a user a right, in place of one that was given before")
    grant.add_argument("user", metavar="USER")
    grant.add_argument("right", metavar="RIGHT", choices=RIGHTS, help="READ, EDIT or MANAGE")
    revoke = action("revoke", "take back what a user was given; the server's default remains")
    revoke.add_argument("user", metavar="USER")
    action("list", "who may do what, and why")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit status."""
    arguments = build_parser().parse_args(argv)
    return exit_code(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from proto_model.registry.tracking import quiet_mlflow

    quiet_mlflow()
    import mlflow

    from proto_model.registry.access import AccessServer, grant, holders, resources_of, revoke
    from proto_model.registry.patience import patient

    if arguments.tracking_uri:
        mlflow.set_tracking_uri(arguments.tracking_uri)
    server = AccessServer(mlflow.get_tracking_uri())
    resources = resources_of(
        patient(mlflow.MlflowClient()), arguments.model, experiments=arguments.experiment
    )
    if arguments.action == "list":
        _show_list(server, resources, holders(server, resources), as_json=arguments.json)
    elif arguments.action == "grant":
        changes = grant(server, arguments.user, resources, arguments.right)
        _show_changes(arguments.user, changes, as_json=arguments.json)
    else:
        _show_changes(arguments.user, revoke(server, arguments.user, resources), as_json=arguments.json)
    return 0


def _show_changes(user: str, changes: Sequence[Change], *, as_json: bool) -> None:
    if as_json:
        print(json_text({"user": user, "changes": [change.to_dict() for change in changes]}))
        return
    for change in changes:
        print(f"{user}, {change.sentence}")


def _show_list(
    server: AccessServer, resources: Sequence[Resource], found: Sequence[Holder], *, as_json: bool
) -> None:
    if not server.user.is_admin:
        print(f"Only administrators see what others than {server.user.name!r} may do.", file=sys.stderr)
    if as_json:
        print(json_text([holder.to_dict() for holder in found]))
        return
    from rich.console import Console

    Console(emoji=False, width=None if sys.stdout.isatty() else 220).print(_table(resources, found))


def _table(resources: Sequence[Resource], found: Sequence[Holder]) -> Table:
    from rich import box
    from rich.table import Table

    from proto_model.registry.catalog.tables import plain

    table = Table(box=box.SIMPLE)
    for heading in ("user", *map(str, resources)):
        table.add_column(plain(heading), overflow="fold")
    for holder in found:
        cells = (
            right if origin == "granted" else f"{right} ({origin})" for _, right, origin in holder.rights
        )
        table.add_row(plain(holder.user), *(plain(cell) for cell in cells))
    return table


if __name__ == "__main__":
    sys.exit(main())
