"""`mlflow run` of this version and of an older one, side by side, and where this one's time goes.

Both train on the same table with default settings through the real command, in turns, each time in a fresh
folder with a fresh SQLite store. The older one is checked out beside this one for the time of the comparison
and runs on the same environment. Bytecode is cached as for any user, in a folder of the benchmark's own; a
first run of each fills it and does not count. Times are those of the whole process tree.

Example: python benchmarks/training.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from servers import machine
from training_stages import STAGES

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
BASELINE = "b526342"  # 0.3.0
TARGET = 1.2  # of the baseline's CPU time


class Run(NamedTuple):
    """What one `mlflow run` took, and where it left its store."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    folder: Path


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; 0 when the target was reached."""
    args = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the checkout is removed then, too
    with tempfile.TemporaryDirectory(prefix="training_") as temporary:
        folder = Path(temporary)
        environment = _environment(folder)
        with _checkout(args.baseline, folder / "baseline") as baseline:
            sources = {"baseline": baseline / "src", "current": ROOT / "src"}
            runs = _in_turns(sources, args, folder, environment)
        answers = {name: _answers(of[-1].folder, environment) for name, of in runs.items()}
        stages = [_stages(run.folder, args.dataset, environment) for run in runs["current"]]
    results = _results(args, runs, answers, stages)
    _print(results)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0 if results["reached"] else 1


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline", default=BASELINE, metavar="REF", help="git's name of the older version")
    parser.add_argument("--dataset", default="breast_cancer", help="built-in data set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "training.json", help="where the numbers go")
    return parser


@contextmanager
def _checkout(ref: str, folder: Path) -> Iterator[Path]:
    """Worktree of an older version, removed in the end."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), ref], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def _environment(folder: Path) -> dict[str, str]:
    """Environment of a user who has set nothing."""
    ours = ("MLFLOW_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    programs = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {"PATH": programs, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def _in_turns(
    sources: dict[str, Path], args: argparse.Namespace, folder: Path, environment: dict[str, str]
) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in sources}
    for number in range(args.rounds + 1):
        for name, source in sources.items():
            home = folder / f"{name}-{number}"
            home.mkdir()
            run = _mlflow_run(source, args.dataset, home, environment)
            what = f"round {number} of {args.rounds}" if number else "warming up"
            print(f"{what}: {name} {run.wall_s:.1f} s, {run.cpu_s:.1f} CPU s", file=sys.stderr)
            if number:
                runs[name].append(run)
    return runs


def _mlflow_run(source: Path, dataset: str, home: Path, environment: dict[str, str]) -> Run:
    command = ["mlflow", "run", "--env-manager", "local", str(source), "-P", f"dataset={dataset}"]
    log = home / "log.txt"
    begin = time.perf_counter()
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=home, env=environment, stdout=out, stderr=out) as process,
    ):
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.send_signal(signal.SIGINT)  # `mlflow run` ends the training, too
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {log.read_text()[-2000:]}")
    wall_s = time.perf_counter() - begin
    return Run(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, home)


def _answers(home: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Leader board of a store and the probabilities that its models give to the test rows."""
    return _in_python("training_answers.py", home, environment)


def _stages(home: Path, dataset: str, environment: dict[str, str]) -> dict[str, float]:
    """CPU seconds per stage of a training in a folder whose store is there already, as under `mlflow run`."""
    return _in_python("training_stages.py", home, environment, "--dataset", dataset)


def _in_python(script: str, home: Path, environment: dict[str, str], *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *words],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _results(
    args: argparse.Namespace,
    runs: dict[str, list[Run]],
    answers: dict[str, dict[str, Any]],
    stages: list[dict[str, float]],
) -> dict[str, Any]:
    medians = {
        name: {
            figure: statistics.median(getattr(run, figure) for run in of)
            for figure in ("wall_s", "cpu_s", "peak_mb")
        }
        for name, of in runs.items()
    }
    pairs = list(zip(runs["current"], runs["baseline"], strict=True))
    wall = statistics.median(new.wall_s / old.wall_s for new, old in pairs)
    cpu = statistics.median(new.cpu_s / old.cpu_s for new, old in pairs)
    same = {part: answers["baseline"][part] == answers["current"][part] for part in answers["current"]}
    return {
        "machine": machine(),
        "dataset": args.dataset,
        "baseline": args.baseline,
        "versions": medians,
        "wall_ratio": wall,
        "cpu_ratio": cpu,
        "same": same,
        "reached": cpu <= TARGET,
        "stages_cpu_s": {name: statistics.median(each[name] for each in stages) for name in STAGES},
    }


def _print(results: dict[str, Any]) -> None:
    print(json.dumps(results["machine"]))
    print(f"\n{results['dataset']}, `mlflow run` with default settings")
    print(f"{'version':22} {'wall s':>8} {'CPU s':>8} {'MB':>6}   (the largest process)")
    for name, row in results["versions"].items():
        title = f"{name} {results['baseline']}" if name == "baseline" else name
        print(f"{title:22} {row['wall_s']:8.1f} {row['cpu_s']:8.1f} {row['peak_mb']:6.0f}")
    print(f"{'current / baseline':22} {results['wall_ratio']:8.2f} {results['cpu_ratio']:8.2f}", end="")
    print(f"   {'reached' if results['reached'] else 'MISSED'} ({TARGET} of the CPU)")
    for part, same in results["same"].items():
        print(f"  {part}: {'the same' if same else 'DIFFERENT'}")

    print("\nwhere the CPU seconds go")
    inside = sum(results["stages_cpu_s"].values())
    around = {"`mlflow run` itself, with the new store": results["versions"]["current"]["cpu_s"] - inside}
    for name, seconds in (around | results["stages_cpu_s"]).items():
        print(f"  {name:42} {seconds:6.2f}")


if __name__ == "__main__":
    sys.exit(main())
