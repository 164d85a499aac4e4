"""MLflow's stores on SQLite, copied from one that its migrations have made.

They take seconds of work each time, and are not what most tests ask about.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAKE = "import mlflow, sys; mlflow.MlflowClient(sys.argv[1]).search_experiments()"


def fresh_store(folder: Path, name: str = "mlflow.db") -> str:
    """Tracking URI of a new store in a folder; it opens as if MLflow had just made it there."""
    path = folder / name
    assert not path.exists(), path
    shutil.copyfile(_empty(), path)
    return f"sqlite:///{path}"


@cache
def _empty() -> Path:
    """A store with every table and no experiment: whoever opens it first says where its artifacts are."""
    kept = ROOT / "build" / "stores" / f"mlflow-{version('mlflow')}.db"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Made aside, because another process of the tests may be looking for it.
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(folder, "mlflow.db")
            subprocess.run(
                [sys.executable, "-c", MAKE, f"sqlite:///{made}"], cwd=folder, check=True, capture_output=True
            )
            connection = sqlite3.connect(made)
            with connection:
                connection.execute("DELETE FROM experiments")
            connection.close()
            os.replace(made, kept)
    return kept
