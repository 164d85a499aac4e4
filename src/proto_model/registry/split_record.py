"""What a run keeps of its split, so that a later comparison knows which rows a version has learned from.

No value of a training row is kept, only hashes that cannot be turned back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proto_model.table import TrainingData
from proto_model.table.identity import RowIds, SplitColumns
from proto_model.table.split_cautions import twins_across
from proto_model.table.twins import Fingerprints

ROWS_FILE = "rows.parquet"
FINGERPRINTS_FILE = "fingerprints.parquet"
SUMMARY_FILE = "summary.json"

ROWS_COLUMNS = {"row_hash", "part"}
_FINGERPRINT_FACTS = ("halvings", "equal_share", "but_one_share")
FINGERPRINTS_COLUMNS = {"kind", "hash", *_FINGERPRINT_FACTS}
_TRAIN, _TEST = "train", "test"
_KINDS = ("key", "group", "features")
_WHOLE, _BUT_ONE = "whole", "but_one"


@dataclass(frozen=True)
class SplitPart:
    """Training or test rows of a run: the hash of each, and what else tells them apart."""

    hashes: NDArray[np.uint64]
    ids: RowIds


def write_identity(data: TrainingData, folder: Path, *, knows_training: bool = True) -> None:
    """Write what tells rows apart, and the fingerprints of the training rows, into a folder.

    Of a model that was trained elsewhere, test rows are all that is known.
    """
    parts = {_TEST: (data.test_hashes, data.test_ids)}
    if knows_training:
        parts = {_TRAIN: (data.train_hashes, data.train_ids)} | parts
    frames = []
    for part, (hashes, ids) in parts.items():
        columns: dict[str, Any] = {"row_hash": hashes, "part": part}
        columns |= {f"{kind}_hash": getattr(ids, kind) for kind in _KINDS}
        # The test rows are kept as they are, of the training rows no value.
        columns["time"] = ids.time if part == _TEST else None if ids.time is None else np.nan
        frames.append(pd.DataFrame({name: held for name, held in columns.items() if held is not None}))
    pd.concat(frames).to_parquet(folder / ROWS_FILE, index=False)
    if not knows_training:
        return
    prints = Fingerprints.of(data.X_train, data.train_hashes)
    table = pd.DataFrame(
        {
            "kind": np.repeat([_WHOLE, _BUT_ONE], [len(prints.whole), len(prints.but_one)]),
            "hash": np.concatenate([prints.whole, prints.but_one]),
            **{name: getattr(prints, name) for name in _FINGERPRINT_FACTS},
        }
    )
    table.to_parquet(folder / FINGERPRINTS_FILE, index=False)


def split_facts(data: TrainingData) -> dict[str, Any]:
    """How rows were split, for the summary; of times, numbers or seconds since 1970."""
    facts: dict[str, Any] = {
        "split_by": data.split_by.rule,
        "split_columns": data.split_by.named,
        "features": data.schema.feature_names,
    }
    if data.train_ids.time is not None and data.test_ids.time is not None:
        facts["trained_until"] = float(data.train_ids.time.max())
        facts["tested_from"] = float(data.test_ids.time.min())
        facts["rows_left_out"] = data.n_left_out
    return facts | {
        "test_rows_with_features_of_a_training_row": twins_across(data),
        "notes": list(data.split_notes),
    }


def parts_of(rows: pd.DataFrame) -> tuple[SplitPart, SplitPart]:
    """Training and test rows, from what `write_identity` wrote, or 0.3.0 and before."""
    is_train = (rows["part"] == _TRAIN).to_numpy(dtype=bool)
    hashes = rows["row_hash"].to_numpy(dtype=np.uint64)

    def ids(of: NDArray[np.bool_]) -> RowIds:
        held = {
            kind: rows[f"{kind}_hash"].to_numpy(dtype=np.uint64)[of]
            for kind in _KINDS
            if f"{kind}_hash" in rows.columns
        }
        time = rows["time"].to_numpy(dtype=np.float64)[of] if "time" in rows.columns else None
        return RowIds(**held, time=time)

    return SplitPart(hashes[is_train], ids(is_train)), SplitPart(hashes[~is_train], ids(~is_train))


def columns_of(summary: dict[str, Any]) -> SplitColumns:
    """What told rows apart, from a summary; in those of 0.3.0 and before, nothing but the rows."""
    named = summary.get("split_columns", {})
    cells = "rows" if summary.get("split_by", "rows") == "rows" else "features"
    return SplitColumns(**{role: str(named.get(role, "")) for role in ("key", "group", "time")}, cells=cells)


def fingerprints_of(table: pd.DataFrame) -> Fingerprints:
    """Fingerprints of training rows, from what `write_identity` wrote."""
    kinds, hashes = table["kind"].to_numpy(), table["hash"].to_numpy(dtype=np.uint64)
    facts = {name: table[name].iloc[0].item() for name in _FINGERPRINT_FACTS}
    return Fingerprints(hashes[kinds == _WHOLE], hashes[kinds == _BUT_ONE], **facts)
