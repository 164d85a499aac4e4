"""MLflow's store on this machine, as it is without a server: an SQLite file and folders, only ever read.

MLflow itself is not needed for it. Which tables and columns are read stands in `COLUMNS`; a store that lacks
one is refused, with the way that always works: an MLflow server in front of it.
"""

from __future__ import annotations

import re
import shlex
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from mapper.errors import RegistryError, SettingsError, UnknownModelError, shown, suggestion

WAIT_S = 5.0  # for a training run that is writing just now
MAX_QUERY_S = 30.0  # a store can be made such that a query has no end
MAX_FILE_BYTES = 64 * 1024 * 1024  # no file of a mapper comes near
NO_MODEL = "Train one (python -m proto_model train), or name another store with --registry-url."
OTHER_STORE = "Check the id, or name another store with --registry-url."
OTHER_NAME = "Name one of these with --schema, or another store with --registry-url."
COLUMNS = {
    "registered_models": {"name"},
    "registered_model_aliases": {"name", "alias", "version"},
    "model_versions": {"name", "version", "source", "storage_location", "current_stage"},
    "model_version_tags": {"name", "version", "key", "value"},
    "logged_models": {"model_id", "name", "source_run_id", "artifact_location", "lifecycle_stage"},
    "runs": {"run_uuid", "artifact_uri", "lifecycle_stage"},
}


def sqlite_file(uri: str) -> Path:
    """File of an SQLite URI as MLflow understands it; raises SettingsError if it names none.

    Examples
    --------
    >>> sqlite_file("sqlite:////srv/my%20models/mlflow.db").as_posix()
    '/srv/my models/mlflow.db'
    """
    scheme, slashes, rest = uri.partition(":///")
    name = unquote(rest.partition("?")[0])
    if scheme not in ("sqlite", "sqlite+pysqlite") or not slashes or name in ("", ":memory:"):
        raise SettingsError(
            "Invalid SQLite URI: sqlite:///mlflow.db, or with the whole path sqlite:////folder/mlflow.db, "
            "expected."
        )
    return Path(name)


class SqliteStore:
    """Reads one store; it answers as MLflow's REST API does where that has a form for it.

    Everything raises RegistryError if the store is not there, is of another kind, or lacks what is asked for.
    """

    def __init__(self, uri: str, environ: Mapping[str, str]) -> None:
        self.path = sqlite_file(uri).absolute()
        self._workspace = environ.get("MLFLOW_WORKSPACE") or "default"

    def close(self) -> None:
        """Nothing stays open between two questions."""

    def version(self, name: str, alias: str | None, number: str) -> dict[str, Any]:
        """A version of a registered model, by its alias, or its number if the alias is None."""
        with self._opened() as rows:
            if not rows("registered_models", ["name"], name=name):
                known = sorted(row[0] for row in rows("registered_models", ["name"]))
                self._unknown(
                    f"there is no registered model {name!r}; {suggestion(name, known)}. "
                    + (NO_MODEL if not known else OTHER_NAME)
                )
            if alias is not None:
                aliases = dict(rows("registered_model_aliases", ["alias", "version"], name=name))
                if alias not in aliases:
                    there = ", ".join(sorted(aliases)) or "none"
                    self._unknown(
                        f"{name} has no version with the alias {alias!r}; its aliases: {there}. {OTHER_NAME}"
                    )
                number = str(aliases[alias])
            is_number = re.fullmatch("[0-9]{1,18}", number)  # as many digits as SQLite's numbers have
            versions = self._versions(rows, name, version=int(number)) if is_number else []
            every = [] if versions else self._versions(rows, name)
        if not versions:
            newest = max((int(version["version"]) for version in every), default="none")
            self._unknown(f"{name} has no version {number}; the newest is {newest}. {OTHER_NAME}")
        return versions[0]

    def versions(self, name: str) -> list[dict[str, Any]]:
        """Versions of a registered model; none if it is not registered."""
        with self._opened() as rows:
            return self._versions(rows, name)

    @staticmethod
    def _versions(rows: Any, name: str, **where: int) -> list[dict[str, Any]]:
        found = rows("model_versions", ["version", "source", "current_stage"], name=name, **where)
        tags = rows("model_version_tags", ["version", "key", "value"], name=name, **where)
        return [
            {
                "version": str(number),
                "source": str(source or ""),
                "tags": [{"key": key, "value": value} for of, key, value in tags if of == number],
            }
            for number, source, stage in found
            if stage != "Deleted_Internal"
        ]

    def file_of_version(self, name: str, number: str, path: str) -> bytes:
        """A file of a version."""
        with self._opened() as rows:
            columns = ["storage_location", "source"]
            ((location, source),) = rows("model_versions", columns, name=name, version=int(number))
        location = str(location or source)
        if location.startswith("runs:/"):
            run_id, _, inner = location.removeprefix("runs:/").lstrip("/").partition("/")
            return self.file_of_run(run_id, inner, path)
        return self._file(f"version {number} of {name}", location, path)

    def file_of_model(self, model_id: str, path: str) -> bytes:
        """A file of a logged model."""
        return self._file(f"model {model_id}", self._location(model_id), path)

    def names_of_model(self, model_id: str, folder: str) -> list[str]:
        """Names of the files in a folder of a logged model; none if there is no such folder."""
        place = self._place(f"model {model_id}", self._location(model_id)) / folder
        return sorted(path.name for path in place.iterdir() if path.is_file()) if place.is_dir() else []

    def _location(self, model_id: str) -> Any:
        with self._opened() as rows:
            found = rows("logged_models", ["artifact_location"], model_id=model_id, lifecycle_stage="active")
        if not found:
            self._unknown(f"there is no model {model_id}. {OTHER_STORE}")
        return found[0][0]

    def model_of_run(self, run_id: str, name: str) -> str | None:
        """Id of the model that a run logged under a name, unless MLflow 2 did it."""
        with self._opened() as rows:
            where = {"source_run_id": run_id, "name": name, "lifecycle_stage": "active"}
            found = rows("logged_models", ["model_id"], **where)
        return found[-1][0] if found else None

    def file_of_run(self, run_id: str, name: str, path: str) -> bytes:
        """A file of the model that a run logged under a name."""
        with self._opened() as rows:
            where = {"source_run_id": run_id, "name": name, "lifecycle_stage": "active"}
            found = rows("logged_models", ["artifact_location"], **where)
            run = rows("runs", ["artifact_uri"], run_uuid=run_id, lifecycle_stage="active")
        if not found and not run:
            self._unknown(f"there is no run {run_id}. {OTHER_STORE}")
        location = found[-1][0] if found else f"{run[0][0]}/{name}"  # logged by MLflow 2
        return self._file(f"model {name} of run {run_id}", location, path)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """A function that reads columns of the rows of a table where its other arguments hold."""
        if not self.path.is_file():
            raise UnknownModelError(
                f"There is no MLflow store at {self.path}. Train a model there "
                "(python -m proto_model train), or give --registry-url."
            )

        def rows(table: str, columns: list[str], **where: object) -> list[tuple[Any, ...]]:
            present = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            if not present and table == "logged_models":
                return []  # a store of MLflow 2
            if not present:
                raise sqlite3.DatabaseError(f"it has no table {table}")
            if missing := COLUMNS[table] - present:
                raise sqlite3.DatabaseError(f"its table {table} lacks {', '.join(sorted(missing))}")
            if "workspace" in present:
                where["workspace"] = self._workspace
            conditions = " AND ".join(f"{column} = ?" for column in where) or "1"
            query = f"SELECT {', '.join(columns)} FROM {table} WHERE {conditions} ORDER BY rowid"
            return database.execute(query, tuple(where.values())).fetchall()

        try:
            uri = f"{self.path.as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=WAIT_S)) as database:
                end = time.monotonic() + MAX_QUERY_S
                database.set_progress_handler(lambda: time.monotonic() > end, 100_000)
                yield rows
        except sqlite3.Error as error:
            raise RegistryError(
                f"Cannot read {self.path} as an MLflow store: {error}. Start an MLflow server on it "
                f"(mlflow server --backend-store-uri sqlite:///{self.path}) and give its URL with "
                "--registry-url."
            ) from error

    def _unknown(self, reason: str) -> NoReturn:
        raise UnknownModelError(f"In the MLflow store {self.path}, {reason}")

    def _refuse(self, reason: str) -> NoReturn:
        raise RegistryError(f"In the MLflow store {self.path}, {reason}.")

    def _place(self, what: str, location: object) -> Path:
        """The folder of a model, which has to be on this machine."""
        try:
            parts = urlsplit(location) if isinstance(location, str) else None
        except ValueError:  # what looks like a URL and is none
            parts = None
        if parts is None or "\0" in unquote(parts.path):
            self._refuse(f"the place of {what} is not one: {shown(location)}")
        if len(parts.scheme) > 1 and parts.scheme != "file":
            raise RegistryError(
                f"The files of {what} are at {parts.scheme}://{parts.hostname or ''}, not on this machine. "
                "Give the URL of an MLflow server with --registry-url, or fetch the folder `mapper` with "
                "`mlflow artifacts download` and give it with --schema."
            )
        folder = Path(unquote(parts.path) if parts.scheme == "file" else str(location))
        return self.path.parent / folder  # a relative place is one beside the store

    def _file(self, what: str, location: object, path: str) -> bytes:
        """A file below the place of a model."""
        folder = self._place(what, location)
        file = folder / path
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                raise RegistryError(f"{file} is not a file of at most {MAX_FILE_BYTES} bytes.")
            return file.read_bytes()
        except FileNotFoundError as error:
            raise RegistryError(self._moved(what, folder, path)) from error
        except OSError as error:
            raise RegistryError(f"Cannot read {file}: {error.strerror}.") from error

    def _moved(self, what: str, folder: Path, path: str) -> str:
        """The sentence for files that are not where the store says."""
        if folder.is_dir():
            return f"{what} has no {path} in {folder}. Was it logged by this project?"
        sentence = f"The files of {what} are not at {folder}, where MLflow's store {self.path} says they are."
        below = (
            folder.parts[folder.parts.index("mlruns") :] if "mlruns" in folder.parts else folder.parts[-1:]
        )
        here = self.path.parent.joinpath(*below)
        if (here / path).is_file():
            place = shlex.quote(str(here))
            return f"{sentence} The store was moved, and MLflow keeps whole paths: give --schema {place}."
        return f"{sentence} Were they moved or deleted? Give the folder of the model with --schema."
