"""Soak: the real servers under everything at once, every answer checked.

    python -m scripts.soak --minutes 60

A lean server and a mapper with two workers each, a server of file jobs, and an object store on this machine.
At a bounded rate, clients ask for predictions in three protocols and for explanations, and have files scored;
each answer is compared with scikit-learn's. Meanwhile workers are killed, servers are exchanged for others
(rolling restarts, to another version and back), the ways to the model server and to the store break, crowds
come, and hostile bytes arrive. The report is printed, and written to `build/soak.md` and `build/soak.json`.
It ends with 0 if no answer was wrong and every error has a known cause.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.object_store import ObjectStore
from scripts.soak.clients import Crowd, FileJobs, Hostile, Steady
from scripts.soak.record import Record, markdown, write
from scripts.soak.stage import Stage, make_models
from scripts.soak.troubles import Rhythm, Troubles

N_CLIENTS = 6


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=30.0, help="checked requests a second (default: 30)")
    parser.add_argument("--workers", type=int, default=2, help="processes of each server (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of rows, faults and bytes")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the report")
    parser.add_argument("--keep", type=Path, help="folder for logs and models, kept afterwards")
    return parser


async def soak(args: argparse.Namespace, store: ObjectStore, folder: Path, record: Record) -> None:
    """Play it for the time that was asked for."""
    models = await asyncio.to_thread(make_models, folder)
    async with Stage(models, store, folder, record, args.workers) as stage:
        rng = random.Random(args.seed)
        steady = Steady(stage, record, rng)
        troubles = Troubles(stage, record, rng, Rhythm.of(args.minutes))
        kinds = ("invocations", "v2", "mapper") * (N_CLIENTS // 3)
        work: list[Any] = [steady.run(kind, N_CLIENTS / args.rate) for kind in kinds]
        work += [FileJobs(stage, record).run(1.0), Hostile(stage, record, rng).run(0.2)]
        work += [troubles.kill(), troubles.exchange(), troubles.faults(), troubles.watch(2.0)]
        work += [troubles.crowds(Crowd(stage, record, rng))]
        record.restart_clock()
        await for_a_while(60 * args.minutes, work)
        for left in stage.temp.iterdir():
            record.unforeseen("files server", f"left {left.name} behind")


async def for_a_while(seconds: float, work: list[Any]) -> None:
    """Have it all go on for a while; what fails by itself is a mistake in here, and raised."""
    tasks = [asyncio.create_task(each) for each in work]
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    tasks.append(asyncio.create_task(stopped.wait()))
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def main(argv: list[str] | None = None) -> int:
    """Run the soak and report; 0 if all was as it should be."""
    args = build_parser().parse_args(argv)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard) if soft < 8192 else soft, hard))
    record = Record()
    with contextlib.ExitStack() as opened:
        if args.keep:
            args.keep.mkdir(parents=True)
            folder = args.keep
        else:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        store = opened.enter_context(ObjectStore.running(folder / "store"))
        asyncio.run(soak(args, store, folder, record))
        content = write(record, args.out)
    print(markdown(content))
    print(f"Written to {args.out / 'soak.md'} and {args.out / 'soak.json'}.", file=sys.stderr)
    return 1 if content["wrong_answers"] or content["unexpected_errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
