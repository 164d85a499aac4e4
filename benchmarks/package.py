"""What it costs to load a packaged model and to predict one row, beside MLflow with the same model.

    python -m proto_model package -m models:/proto_model@champion --out build/package
    python benchmarks/package.py build/package

Prints the CPU time of new processes, in pairs one after the other, and by how much they differ.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from proto_model.csv_rows import csv_rows
from proto_model.schema import ModelSchema

_PACKAGE = """
import json, sys
from interface import load_model
print(load_model().predict(json.loads(sys.argv[2])).tolist())
"""
_MLFLOW = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(pandas.DataFrame(json.loads(sys.argv[2])))["prediction"].tolist())
"""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; give 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path, help="folder of a package")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    folder = arguments.package.resolve()
    model = folder / "artifacts" / "model"
    schema = ModelSchema.read(model / "artifacts" / "bundle" / "schema.json")
    with (folder / "example.csv").open(encoding="utf-8", newline="") as file:
        _, first, *_ = csv_rows(file)
    row = json.dumps([dict(zip(schema.feature_names, first, strict=False))])
    pairs = []
    for _ in range(arguments.rounds):
        ours, theirs = (cpu_seconds(code, folder, model, row) for code in (_PACKAGE, _MLFLOW))
        pairs.append((ours, theirs))
        print(f"package {ours:.2f} s, MLflow {theirs:.2f} s: {theirs / ours:.1f} times")
    print(f"median {statistics.median(theirs / ours for ours, theirs in pairs):.1f} times")
    return 0


def cpu_seconds(code: str, folder: Path, model: Path, row: str) -> float:
    """CPU time of a new Python in another folder, which finds the package as its users do."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [
            sys.executable,
            "-c",
            f"__import__('site').addsitedir({str(folder)!r})\n{code}",
            model,
            row,
        ]
        subprocess.run(command, cwd=elsewhere, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
