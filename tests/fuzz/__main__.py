"""Fuzz every parser of the project in turn.

    python -m tests.fuzz --minutes 15

Each target has an equal share of the time and a process of its own, so that a crash of one ends no other. The
summary is printed and written to `build/fuzz/summary.json`; inputs that failed are beside it. `--save` adds
what atheris found interesting to the saved corpus.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz import engines
from tests.fuzz.targets import TARGETS, corpus_of, save

MOST_SAVED = 40
MOST_BYTES = 400  # of an input that is saved


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help=f"some of: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=15.0, help="for all targets together (default: 15)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (default: 1)")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    parser.add_argument(
        "--engine", choices=("atheris", "hypothesis"), help="default: atheris if it is installed"
    )
    parser.add_argument("--save", action="store_true", help="add what was found interesting to the corpus")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Fuzz; 0 if nothing was found."""
    args = build_parser().parse_args(argv)
    names = args.targets or list(TARGETS)
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    engine = args.engine or ("atheris" if engines.HAS_ATHERIS else "hypothesis")
    seconds = 60 * args.minutes * args.jobs / len(names)

    def run(name: str) -> dict[str, Any]:
        return _run(name, seconds, args.folder, engine)

    with ThreadPoolExecutor(args.jobs) as pool:
        results = dict(zip(names, pool.map(run, names), strict=True))
    for name in names:
        if args.save:
            _save(name, args.folder)
    summary = {"engine": engine, "minutes": args.minutes, "targets": results}
    (args.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"{'target':<16}{'executions':>12}{'coverage':>10}{'findings':>10}   ({engine})")
    for name, result in results.items():
        print(f"{name:<16}{result['executions']:>12}{result['coverage'] or '-':>10}{result['findings']:>10}")
    failed = [name for name, result in results.items() if result["findings"] or result["failed"]]
    if failed:
        print(f"Look into {args.folder}/<target>: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, seconds: float, folder: Path, engine: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.fuzz.engines", name, "--seconds", str(seconds)]
    command += ["--folder", str(folder), "--engine", engine]
    (folder / name).mkdir(parents=True)
    with (folder / name / "log").open("w+", errors="replace") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        log.seek(0)
        output = log.read()
    if engine == "atheris":
        result = engines.result_of(output, folder, name)
    else:
        lines = output.strip().splitlines()
        result = (
            json.loads(lines[-1])
            if done.returncode == 0
            else {"executions": 0, "coverage": None, "findings": 1}
        )
    return {**result, "failed": done.returncode != 0}


def _save(name: str, folder: Path) -> None:
    """Add some of the inputs that reach new code, as different in length as may be."""
    saved = corpus_of(name)
    found = [path.read_bytes() for path in sorted((folder / name / "corpus").glob("*"))]
    new = sorted(
        {data for data in found if len(data) <= MOST_BYTES} - set(saved), key=lambda data: (len(data), data)
    )
    step = max(1, len(new) // max(1, MOST_SAVED - len(saved)))
    kept = new[::step][: max(0, MOST_SAVED - len(saved))]
    made = saved[: {"arrow_messages": 6, "whole_file": 14}.get(name, 0)]
    save(name, [data for data in [*saved, *kept] if data not in made])


if __name__ == "__main__":
    sys.exit(main())
