"""The rows to compare two versions on: those that neither learned from, and what is known against them.

A training run leaves its test rows under `split/`, and hashes of all its rows, training and test. A row's
hash tells across runs whether another run learned from it; so do those of key and group, where it has them,
and of its features, where these decided its part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from numpy.typing import NDArray
from scipy.stats import binom

from proto_model.errors import DataError
from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.registry.promotion.learned import Learned, MissingSplitError, rows_for_testing
from proto_model.table.split import HASH_COLUMN, split_digest
from proto_model.table.twins import near_duplicates

_KINDS = ("key", "group")
_RARE = 0.01  # numbers that are as rare by chance are not called chance
_NOT_TOLD = (
    "How many compared rows nearly equal a training row of version {} is not known: it is of 0.3.0 or "
    "before, was trained elsewhere, or has other features. It may have learned from earlier states of "
    "corrected rows."
)


@dataclass(frozen=True)
class NearTwins:
    """Of the compared rows, how many equal a training row of a version but for little.

    `equal_features` equal one in all features, so that their class or a column that is no feature differs;
    `one_feature_differs` others equal one in all features but one, which is an estimate where
    `is_estimate` says so. The expected numbers are those of chance, going by how often training rows equal
    each other. All are None of a version that left nothing to tell it by.
    """

    version: str
    rows: int
    equal_features: int | None = None
    one_feature_differs: int | None = None
    expected_equal: float | None = None
    expected_one_differs: float | None = None
    is_estimate: bool = False

    @property
    def n_near(self) -> int:
        """How many rows equal a training row but for little."""
        return (self.equal_features or 0) + (self.one_feature_differs or 0)

    @property
    def is_more_than_chance(self) -> bool:
        """Whether either number is beyond what chance explains."""
        pairs = (
            (self.equal_features, self.expected_equal),
            (self.one_feature_differs, self.expected_one_differs),
        )
        return any(
            found and expected is not None and binom.sf(found - 1, self.rows, expected / self.rows) < _RARE
            for found, expected in pairs
        )


@dataclass(frozen=True)
class HeldOutRows:
    """Rows to compare two versions on: features, target and the column `__row_hash__`.

    Of the `n_test_rows` of the challenger's run, `n_set_aside` are left out because a version learned from
    them, or from rows of the same key, group or features. `caveats` say why a version may have seen some of
    the rows all the same, `remarks` what makes that uncertain, and `notes` what else is to know of them.
    `split_by` says how the rows of each version were split, by its number.
    """

    frame: pd.DataFrame
    n_test_rows: int
    n_set_aside: int
    caveats: tuple[str, ...]
    split_by: Mapping[str, str] = field(default_factory=dict)
    near_duplicates: tuple[NearTwins, ...] = ()
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_unseen(self) -> bool:
        """Whether it is certain that no version has learned from any of the rows, or from a state of one."""
        return not (self.caveats or self.remarks)

    @property
    def digest(self) -> str:
        """As the `split_digest` of a training run."""
        return split_digest(self.frame[HASH_COLUMN].to_numpy(dtype=np.uint64))


def held_out_rows(challenger: ModelVersion, champion: ModelVersion | None, folder: Path) -> HeldOutRows:
    """Test rows of the challenger's training run that no version has learned from.

    When the champion's training rows are not known, all test rows are used and a caveat says so: a champion
    that saw some of them only gets a better score than it deserves. The other way round there is no fair
    comparison, so a DataError says that the challenger's rows are not known, or were all learned from. A
    ComparisonError says that the two were split so that the challenger would have an advantage.
    """
    try:
        frame = rows_for_testing(challenger, folder / "challenger")
        ours = Learned.by(challenger, folder / "challenger")
    except MissingSplitError as error:
        raise DataError(f"There are no held-out rows. {error}. Train the challenger again.") from error
    known, caveats = [ours], []
    if champion is not None:
        try:
            known.append(Learned.by(champion, folder / "champion"))
        except MissingSplitError as error:
            caveats.append(f"{error}. The champion may have been trained on some of the rows.")
    rows = _TestRows(frame[HASH_COLUMN].to_numpy(dtype=np.uint64), ours)
    seen, said = _seen(rows, known)
    caveats += said
    if seen.all():
        raise DataError(_nothing_left(len(frame), known))
    frame = frame[~seen].reset_index(drop=True)
    twins = [_near_twins(frame, version) for version in known]
    # A key tells corrected rows from others, so near-duplicates are other rows.
    keys = {version.columns.key for version in known}
    doubtful = [] if len(keys) == 1 and keys != {""} else twins
    caveats += [_said_of_twins(counted) for counted in doubtful if counted.is_more_than_chance]
    caveats += [_NOT_TOLD.format(counted.version) for counted in doubtful if counted.equal_features is None]
    by_chance = [counted for counted in doubtful if counted.n_near and not counted.is_more_than_chance]
    return HeldOutRows(
        frame=frame,
        n_test_rows=len(seen),
        n_set_aside=int(seen.sum()),
        caveats=tuple(caveats),
        split_by={version.version: version.columns.rule for version in known},
        near_duplicates=tuple(twins),
        remarks=tuple(_said_of_twins(counted) for counted in by_chance),
        notes=tuple(_left(len(frame), len(seen), known)),
    )


class _TestRows:
    """The challenger's test rows, by the order of the frame that holds them."""

    def __init__(self, hashes: NDArray[np.uint64], ours: Learned) -> None:
        self.hashes, self.columns = hashes, ours.columns
        # Both files come from the same rows; one that was rewritten may have them in another order.
        order = np.argsort(ours.test.hashes, kind="stable")
        place = np.searchsorted(ours.test.hashes[order], hashes).clip(max=len(order) - 1)
        self.time = None if ours.test.ids.time is None else ours.test.ids.time[order[place]]


def _seen(rows: _TestRows, known: Sequence[Learned]) -> tuple[NDArray[np.bool_], list[str]]:
    """Which test rows a version has learned from, or may have, and what cannot be known."""
    seen = np.zeros(len(rows.hashes), dtype=bool)
    caveats = []
    for version in known:
        seen |= np.isin(rows.hashes, version.train.hashes)
    for kind in _KINDS:
        for column in dict.fromkeys(getattr(version.columns, kind) for version in known):
            if column:
                shared, said = _seen_by_identity(rows, known, kind, column)
                seen |= shared
                caveats += said
    if any(version.columns.rule == "features" for version in known):
        shared, said = _seen_by_identity(rows, known, "features", "")
        seen |= shared
        caveats += said
    if len(known) > 1:
        later, said = _seen_by_time(rows, *known)
        seen |= later
        caveats += said
        caveats += _nothing_in_common(rows, known[1])
    return seen, caveats


def _seen_by_identity(
    rows: _TestRows, known: Sequence[Learned], kind: str, column: str
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which test rows share a key, a group or all features with training rows of a version.

    A version that was not split by it has no keys or groups, one of 0.3.0 or before no hashes of features.
    But a row's hash covers its cells, so those of its rows are known that the other version's table has, too.
    """
    given = [found for version in known if (found := version.identities(kind, column)) is not None]
    if not given:
        return np.zeros(len(rows.hashes), dtype=bool), []
    look_up = _LookUp(*(np.concatenate(parts) for parts in zip(*given, strict=True)))
    values, is_known = look_up(rows.hashes)
    seen, caveats = np.zeros(len(values), dtype=bool), []
    if not is_known.all():
        caveats.append(
            f"The {_shown(kind, column)} of {(~is_known).sum()} of the {len(values)} test rows cannot be "
            "compared with those of training rows: the table of the version that was split by it does not "
            "have them."
        )
    for version in known:
        learned, has_value = look_up(version.train.hashes)
        seen |= is_known & np.isin(values, learned[has_value])
        n_unknown = int((~has_value).sum())
        if n_unknown:
            again = f"{kind}={column}" if column else "split=features"
            caveats.append(
                f"Version {version.version} was not split by the {_shown(kind, column)}: that of {n_unknown} "
                f"of its {len(has_value)} training rows is not known, as the other version's table does not "
                f"have them, and may be that of compared rows. Train it again with {again}."
            )
    return seen, caveats


def _shown(kind: str, column: str) -> str:
    return f"{kind} {column!r}" if column else f"hash of the {kind}"


class _LookUp:
    """From the hashes of rows to those of their keys or groups."""

    def __init__(self, rows: NDArray[np.uint64], values: NDArray[np.uint64]) -> None:
        self._rows, first = np.unique(rows, return_index=True)
        self._values = values[first]

    def __call__(self, rows: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Value of each row, and whether it is known."""
        places = np.searchsorted(self._rows, rows).clip(max=len(self._rows) - 1)
        return self._values[places], self._rows[places] == rows


def _seen_by_time(rows: _TestRows, ours: Learned, theirs: Learned) -> tuple[NDArray[np.bool_], list[str]]:
    """Which test rows are of a time from which the champion learned, too."""
    none = np.zeros(len(rows.hashes), dtype=bool)
    our_time, their_time = ours.columns.time, theirs.columns.time
    if their_time and not our_time:
        raise ComparisonError(
            f"Version {theirs.version} was split by the time {their_time!r}, version {ours.version} was not: "
            f"version {ours.version} learned from rows as late as those to compare on, version "
            f"{theirs.version} from earlier ones only. Train the challenger again with time={their_time}."
        )
    if our_time == their_time and rows.time is not None and theirs.trained_until is not None:
        return rows.time <= theirs.trained_until, []
    if our_time:
        split = f"by {their_time!r}" if their_time else "was not"
        return none, [
            f"Version {ours.version} was split by the time {our_time!r}, version {theirs.version} {split}: "
            f"version {theirs.version} may have an advantage from rows as late as the compared ones."
        ]
    return none, []


def _nothing_in_common(rows: _TestRows, theirs: Learned) -> list[str]:
    if np.isin(rows.hashes, np.concatenate([theirs.train.hashes, theirs.test.hashes])).any():
        return []
    same_time = rows.columns.time and rows.columns.time == theirs.columns.time
    same_key = rows.columns.key and rows.columns.key == theirs.columns.key
    if same_time or same_key:  # then new rows are what one expects
        return []
    return [
        "The tables of the two versions have no row in common: other data, or other columns. "
        "The champion may have been trained on some of the rows."
    ]


def _nothing_left(n_rows: int, known: Sequence[Learned]) -> str:
    beginning = (
        f"There are no held-out rows: each of the {n_rows} test rows was used to train one of the versions"
    )
    rules = {version.version: version.columns.rule for version in known}
    if set(rules.values()) in ({"rows"}, {"features"}):
        return f"{beginning}. Train both with the same test_size, so that the same rows are held out."
    split = " and ".join(f"version {version} by {rule}" for version, rule in rules.items())
    return (
        f"{beginning}, or shares its features, key, group or time with a row that was. Rows were split in "
        f"{split}: train both with the same split, key, group, time and test_size."
    )


def _left(n_left: int, n_rows: int, known: Sequence[Learned]) -> list[str]:
    """How many rows are left of two splits of which one covers the class, and how to keep them all."""
    rules = [version.columns.rule for version in known]
    if sorted(rules) != ["features", "rows"]:
        return []
    ours, theirs = known
    return [
        f"Version {ours.version} was split by {rules[0]}, version {theirs.version} by {rules[1]}: {n_left} "
        f"of the {n_rows} test rows are left, as others, or rows with the same features, were learned from. "
        f"To compare on all of them, train the challenger again with split={rules[1]}."
    ]


def _near_twins(frame: pd.DataFrame, version: Learned) -> NearTwins:
    if version.fingerprints is None or not set(version.features) <= set(frame.columns):
        return NearTwins(version.version, len(frame))
    prints = version.fingerprints
    found = near_duplicates(frame[list(version.features)], prints)
    return NearTwins(
        version=version.version,
        rows=found.n_rows,
        equal_features=found.n_equal,
        one_feature_differs=found.n_but_one,
        expected_equal=found.n_rows * prints.equal_share,
        expected_one_differs=found.n_rows * prints.but_one_share,
        is_estimate=found.is_estimate,
    )


def _said_of_twins(counted: NearTwins) -> str:
    about = "about " if counted.is_estimate else ""
    return (
        f"Of the {counted.rows} compared rows, {counted.equal_features} equal a training row of version "
        f"{counted.version} in all features, though not in the class or in other columns, and {about}"
        f"{counted.one_feature_differs} others in all features but one; chance explains about "
        f"{counted.expected_equal:.0f} and {counted.expected_one_differs:.0f}. Corrections of rows that it "
        "learned from are no unseen rows: a key, as in `-P key=id`, would tell which they are."
    )
