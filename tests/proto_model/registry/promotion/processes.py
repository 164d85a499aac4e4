"""Processes that are killed in the middle of a move, or that all want to promote in the same instant.

Importing MLflow and its stores takes seconds, so one process does that and forks the others; it opens no
store itself.
Each scenario prints one JSON line per process:
`python -m tests.proto_model.registry.promotion.processes kill 1`
"""

import contextlib
import io
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import mlflow
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store
from mlflow import MlflowClient

from proto_model.errors import ProtoModelError
from proto_model.registry.promotion.history import read_history
from proto_model.registry.promotion.journal import JOURNAL_TAG, tag_version
from proto_model.registry.promotion.moves import settle, turn
from proto_model.registry.versions import (
    CHALLENGER,
    Aliases,
    explainer_name,
    found,
    read_aliases,
    read_aliases_and_tags,
    set_alias,
)
from tests.proto_model.registry.promotion.turns import promote
from tests.stores import fresh_store

NAME = "m"
WRITES = ("set_", "delete_", "create_", "update_", "log_")


class Dying:
    """MLflow's client; its process kills itself right before write number `n`."""

    def __init__(self, client, n):
        self._client = client
        self._left = n

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if not name.startswith(WRITES):
            return method

        def write(*arguments, **options):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*arguments, **options)

        return write


def in_a_process(work):
    """Exit status of a forked process that does some work."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        work()
        sys.stdout.flush()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def prepare(store, n_champions):
    """Versions 1 to 3 with explainers of their own; the first ones were champion one after the other."""
    mlflow.set_tracking_uri(store)
    client = MlflowClient()
    for name in (NAME, explainer_name(NAME)):
        client.create_registered_model(name)
    for version in ("1", "2", "3"):
        client.create_model_version(NAME, "file:///nowhere")
        tags = {"explained_version": version}
        client.create_model_version(explainer_name(NAME), "file:///nowhere", tags=tags)
    for version in range(1, n_champions + 2):
        set_alias(NAME, CHALLENGER, version)
        set_alias(explainer_name(NAME), CHALLENGER, version)
        if version <= n_champions:
            promote(NAME, read_aliases(NAME), mlflow.MlflowClient())
    return client


def move(kind, client):
    """Promote version 2 over 1, or go back from 2 to 1, with a mark."""
    marks = [tag_version(NAME, "2", "mark", kind)]
    aliases = read_aliases(NAME)
    with turn(client, NAME, kind) as taken:
        (taken.promote if kind == "promotion" else taken.roll_back)(aliases, marks)


def state(client):
    aliases, tags = read_aliases_and_tags(NAME)
    history = read_history(client, NAME, aliases, tags)
    return {
        "aliases": vars(aliases),
        "explainer": vars(read_aliases(explainer_name(NAME))),
        "history": [*history.replaced, history.champion],
        "mark": client.get_model_version(NAME, "2").tags.get("mark"),
        "journal": JOURNAL_TAG in tags,
        "locks": [model.name for model in client.search_registered_models() if "__lock" in model.name],
    }


def kill(every):
    """Kill each kind of move before each of its writes, or some; what the next command finds and leaves."""
    for kind in ("promotion", "rollback"):
        _kill(kind, every)


def _kill(kind, every):
    n, survived = 1 - int(every), False
    with tempfile.TemporaryDirectory() as folder:
        made, used = Path(folder, "made.db"), Path(folder, "used.db")
        store = f"sqlite:///{used}"
        empty = fresh_store(made.parent, made.name)
        in_a_process(lambda: prepare(empty, 1 if kind == "promotion" else 2))
        while not survived:
            n += int(every)
            shutil.copy(made, used)

            def die(n=n, store=store):
                mlflow.set_tracking_uri(store)
                move(kind, Dying(MlflowClient(), n))

            def look(n=n, store=store):
                mlflow.set_tracking_uri(store)
                client = MlflowClient()
                before = state(client)
                pending = settle(NAME, client=client, dry_run=True)
                unchanged = state(client) == before
                recovery = settle(NAME, client=client)
                again = settle(NAME, client=client)
                print(
                    json.dumps(
                        {
                            "kind": kind,
                            "n": n,
                            "pending": pending and pending.to_dict(),
                            "unchanged_by_dry_run": unchanged,
                            "recovery": recovery and recovery.to_dict(),
                            "again": again and again.to_dict(),
                            "before": before,
                            "after": state(client),
                        }
                    )
                )

            status = in_a_process(die)
            assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
            survived = status == 0
            assert in_a_process(look) == 0


def crowd(store, n_processes):
    """Promote version 2 over 1 in many processes at once."""
    n_processes = int(n_processes)
    in_a_process(lambda: prepare(store, 1))
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(n_processes)

    def attempt():
        said = io.StringIO()
        mlflow.set_tracking_uri(store)
        client = MlflowClient()
        expected = Aliases("1", "2")
        found(client.get_registered_model, NAME)  # the store is open
        logging.basicConfig(stream=said, force=True)
        logging.getLogger("mlflow").propagate = True
        barrier.wait()
        with contextlib.redirect_stderr(said):
            try:
                result = {"promoted": vars(promote(NAME, expected, client))}
            except ProtoModelError as error:
                result = {"refused": str(error)}
            except Exception as error:
                result = {"error": f"{type(error).__name__}: {error}"}
        line = json.dumps(result | {"said": said.getvalue()}) + "\n"
        os.write(1, line.encode())  # in one piece, or the lines of two processes mix

    workers = [context.Process(target=attempt) for _ in range(n_processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    in_a_process(lambda: (mlflow.set_tracking_uri(store), print(json.dumps(state(MlflowClient())))))


if __name__ == "__main__":
    {"kill": kill, "crowd": crowd}[sys.argv[1]](*sys.argv[2:])
