"""What the run of a version left of its split: the rows that it learned from, and what identifies them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from proto_model.registry.split_record import (
    FINGERPRINTS_COLUMNS,
    FINGERPRINTS_FILE,
    ROWS_COLUMNS,
    ROWS_FILE,
    SUMMARY_FILE,
    SplitPart,
    columns_of,
    fingerprints_of,
    parts_of,
)
from proto_model.table.identity import SplitColumns
from proto_model.table.split import HASH_COLUMN
from proto_model.table.twins import Fingerprints

_TEST_ROWS_FILE = "test_rows.parquet"

T = TypeVar("T")


class MissingSplitError(Exception):
    """A run left no record of its split; the message is a sentence without its full stop."""


@dataclass(frozen=True)
class Learned:
    """How a version's rows were split, and what tells its training and test rows apart from others.

    `trained_until` is the latest time of the training rows, if rows were split by time. `fingerprints` are
    those of the training rows; None of a version logged by 0.3.0 or before.
    """

    version: str
    columns: SplitColumns
    features: tuple[str, ...]
    train: SplitPart
    test: SplitPart
    trained_until: float | None
    fingerprints: Fingerprints | None

    @classmethod
    def by(cls, version: ModelVersion, folder: Path) -> Learned:
        """What the run that split a version's rows left; a MissingSplitError says that it left nothing."""
        rows = _table(version, ROWS_FILE, ROWS_COLUMNS, folder)
        summary = _read(version, SUMMARY_FILE, folder, _json_object)
        train, test = parts_of(rows)
        until = summary.get("trained_until")
        try:
            prints: pd.DataFrame | None = _table(version, FINGERPRINTS_FILE, FINGERPRINTS_COLUMNS, folder)
        except MissingSplitError:
            prints = None
        try:
            return cls(
                version=str(version.version),
                columns=columns_of(summary),
                features=tuple(summary.get("features", ())),
                train=train,
                test=test,
                trained_until=None if until is None else float(until),
                fingerprints=None if prints is None else fingerprints_of(prints),
            )
        except (TypeError, ValueError, AttributeError) as error:  # values of other types than were written
            raise _unreadable(version, SUMMARY_FILE) from error

    def identities(self, kind: str, column: str) -> tuple[NDArray[np.uint64], NDArray[np.uint64]] | None:
        """Hashes of all rows, and of what identified them by this column; None if it did not.

        Of the kind `features`, which has no column, every run leaves the hashes, but for 0.3.0 and before.
        """
        if column and getattr(self.columns, kind) != column:
            return None
        held = [(part.hashes, getattr(part.ids, kind)) for part in (self.train, self.test)]
        if any(values is None for _, values in held):
            return None
        return np.concatenate([hashes for hashes, _ in held]), np.concatenate([values for _, values in held])


def rows_for_testing(version: ModelVersion, folder: Path) -> pd.DataFrame:
    """Test rows of the run that split a version's rows, with the column `__row_hash__`."""
    return _table(version, _TEST_ROWS_FILE, {HASH_COLUMN}, folder)


def _table(version: ModelVersion, name: str, columns: set[str], folder: Path) -> pd.DataFrame:
    frame = _read(version, name, folder, pd.read_parquet)
    missing = columns - set(frame.columns)
    if missing:
        raise MissingSplitError(
            f"The artifact split/{name} of run {version.tags['split_run_id']} lacks {sorted(missing)}"
        )
    return frame


def _read(version: ModelVersion, name: str, folder: Path, read: Callable[[str], T]) -> T:
    run_id = version.tags.get("split_run_id")
    if run_id is None:
        raise MissingSplitError(f"Version {version.version} has no tag split_run_id")
    folder.mkdir(exist_ok=True)
    try:
        return read(
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=f"split/{name}", dst_path=str(folder)
            )
        )
    except (MlflowException, OSError, ValueError, RecursionError) as error:
        raise _unreadable(version, name) from error


def _unreadable(version: ModelVersion, name: str) -> MissingSplitError:
    return MissingSplitError(
        f"The artifact split/{name} of run {version.tags['split_run_id']}, which split the rows of version "
        f"{version.version}, cannot be read"
    )


def _json_object(path: str) -> dict[str, Any]:
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content
