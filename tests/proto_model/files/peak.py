"""Scores files one after the other in a process of its own and prints what each took; see `test_bombs.py`."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

from proto_model.errors import ProtoModelError
from proto_model.files import FileSettings, score_file
from proto_model.parameters import Parameters
from tests.proto_model.files.conftest import SumModel


def memory(name: str) -> int:
    """A number of bytes by its name in /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def main(folder: Path, max_batch_bytes: int) -> None:
    """Score every file that `cases.json` names, after one that warms up."""
    cases: dict[str, dict[str, Any]] = json.loads((folder / "cases.json").read_text())
    settings = FileSettings(max_batch_bytes=max_batch_bytes, max_decompressed_bytes=1 << 30, n_workers=2)
    before = 0
    for name, params in cases.items():
        gc.collect()
        before = before or memory("VmRSS") * (name != "warm-up.csv")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew
        try:
            scored = score_file(folder / name, folder / "out", SumModel(), Parameters(**params), settings)
            outcome = f"{scored.n_rows} rows, {scored.n_rejected} rejected"
        except ProtoModelError as error:
            outcome = f"{type(error).__name__}: {error}"
        taken = memory("VmHWM") - before
        print(json.dumps({"name": name, "taken": taken, "outcome": outcome}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
