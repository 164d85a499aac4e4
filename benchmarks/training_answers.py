"""What a training left in the store of this folder, as JSON: for `training.py`.

A program of its own, because every model brings the package that it was logged with.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient

DURATIONS = ("fit_seconds",)


def main() -> int:
    """Print the leader board, the chosen variant, all figures, and the answers to the test rows."""
    warnings.simplefilter("ignore")
    client = MlflowClient()
    versions = client.search_model_versions("name='proto_model'")
    chosen = client.get_model_version_by_alias("proto_model", "challenger")
    split = chosen.tags["split_run_id"]
    rows = pd.read_parquet(_artifact(split, "split/test_rows.parquet")).drop(columns="__row_hash__")
    board = pd.read_csv(_artifact(split, "leaderboard.csv")).drop(columns=["run_id", *DURATIONS])
    found = {
        "leader board": board.to_dict("records"),
        "chosen variant": chosen.tags["variant"],
        "figures": {
            version.tags["variant"]: {
                name: value
                for name, value in client.get_run(version.run_id).data.metrics.items()
                if name not in DURATIONS
            }
            for version in versions
        },
        "answers to the test rows": {
            version.tags["variant"]: mlflow.pyfunc.load_model(version.source)
            .predict(rows.iloc[:, :-1])
            .to_dict("list")
            for version in versions
        },
    }
    print(json.dumps(found))
    return 0


def _artifact(run_id: str, path: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path))


if __name__ == "__main__":
    sys.exit(main())
