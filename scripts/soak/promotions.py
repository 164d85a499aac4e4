"""Soak of following: versions are promoted and workers killed while clients ask, and every answer is checked.

    python -m scripts.soak.promotions --minutes 10

A registry with two versions of one schema that never agree, a lean server and a mapper before it that follow
the alias, with two workers each, and clients that keep their connections. The alias moves every few seconds,
and once a minute a worker is killed, of the server and of the mapper in turn. Each answer is compared with
scikit-learn's for the version that it names. An error is expected only of a request over a connection that
the killed worker had: who had which is read from Linux, so it runs there only. The report is printed, and
written to `build/soak-promotions.md` and `build/soak-promotions.json`. It ends with 0 if no answer was wrong,
every error was expected, and no process grew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from scripts.soak.__main__ import for_a_while
from scripts.soak.asking import Client, Seen, asks
from scripts.soak.growth import lives
from scripts.soak.record import Record, markdown, summary, table
from scripts.soak.registry import Registry, make_registry
from scripts.soak.stage import Server
from scripts.soak.swaps import Kills, Moves, Watch, settle, swaps_seen, times_seen
from scripts.soak.wire import HOST

NAME = "soak-promotions"
WATCH_S = 2.0
SWAPS_PER_BLOCK = 4  # of the line that is fitted to memory
#: What the report says of a process.
LIFE = {
    "seconds": "s",
    "rss_mib_median": "RSS",
    "rss_mib_max": "most",
    "rss_mib_per_hour": "RSS/h",
    "pss_mib_median": "PSS",
    "pss_mib_max": "most",
    "pss_mib_per_hour": "PSS/h",
    "flat": "flat",
    "descriptors_max": "descriptors, most",
    "descriptors_last": "last",
}


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.soak.promotions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (default: 100)")
    parser.add_argument("--swap-s", type=float, default=5.0, help="seconds between promotions (default: 5)")
    parser.add_argument("--kill-s", type=float, default=60.0, help="seconds between kills (default: 60)")
    parser.add_argument("--follow", type=float, default=0.5, help="seconds between questions to the registry")
    parser.add_argument("--workers", type=int, default=2, help="processes of each server (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of rows and sizes")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the report")
    parser.add_argument("--keep", type=Path, help="folder for logs and the registry, kept afterwards")
    return parser


@contextlib.asynccontextmanager
async def following(
    registry: Registry, args: argparse.Namespace, folder: Path, record: Record
) -> AsyncIterator[tuple[Server, Server]]:
    """Model server and mapper, which follow; what they leave behind is noted."""
    temp = folder / "temp"
    temp.mkdir()
    environment = {"MLFLOW_TRACKING_URI": registry.uri, "TMPDIR": str(temp)}
    options = ["--follow", f"{args.follow:g}", "--workers", str(args.workers), "--port", "0"]
    rows, mapper = Server("rows", 1, folder), Server("mapper", 1, folder)
    try:
        await rows.start(["proto_model", "serve", "-m", registry.source, *options], environment)
        command = ["mapper", "serve", "--schema", registry.source, *options]
        url = f"http://{HOST}:{rows.port}"
        await mapper.start([*command, "--model-server-url", url], environment)
        yield rows, mapper
    finally:
        for server in (mapper, rows):
            if server.process is not None and server.process.poll() is None:
                await server.stop(record)
            server.kill()
    for left in temp.iterdir():
        record.unforeseen("servers", f"left {left.name} behind")


async def soak(
    args: argparse.Namespace, folder: Path, record: Record, opened: contextlib.ExitStack
) -> dict[str, Any]:
    """Play it for the time that was asked for; what the report says besides."""
    registry = await asyncio.to_thread(make_registry, folder)
    async with following(registry, args, folder, record) as servers:
        promote = opened.enter_context(registry.promoting())
        ports = {server.kind: server.port for server in servers}
        seen, moves, watch = Seen(), Moves(sorted(registry.answers), promote, record), Watch(servers)
        wanted = asks(args.clients)
        clients = [
            Client(ask, registry, ports[ask.server], record, seen, args.seed + number)
            for number, ask in enumerate(wanted)
        ]
        work: list[Any] = [client.run(len(wanted) / args.rate) for client in clients]
        work += [moves.run(args.swap_s), watch.run(WATCH_S)]
        work += [Kills(servers, record, seen, 60 * args.minutes).run(args.kill_s)]
        record.restart_clock()
        await for_a_while(60 * args.minutes, work)
        seconds = time.monotonic() - record.begin
        if moves.all:
            await settle(servers, moves.all[-1].version, record)
    processes = lives(watch.looks, SWAPS_PER_BLOCK * args.swap_s)
    for row in processes:
        if row["flat"] is False:
            record.unforeseen(row["role"], "grew", f"{row['rss_mib_per_hour']} MiB an hour")
    return {
        "minutes": round(seconds / 60, 2),
        "clients": args.clients,
        "cores": os.cpu_count(),
        "load": [round(one, 1) for one in os.getloadavg()],
        "swaps": {kind: swaps_seen(moves.all, answers) for kind, answers in seen.answers.items()},
        "times": times_seen(moves.all, seen.plain),
        "versions_on_disk": {str(n): watch.held.count(n) for n in sorted(set(watch.held))},
        "lives": processes,
        "kills": [
            {"server": kill.server, "held": len(kill.held), "queued": len(kill.queued)} for kill in seen.kills
        ],
        "log": _log_lines(servers),
    }


def _log_lines(servers: Sequence[Server]) -> list[list[Any]]:
    """Warnings and errors in the logs, without their numbers, and how often they came."""
    found: Counter[tuple[str, str]] = Counter()
    for server in servers:
        for line in server.log.read_text(errors="replace").splitlines():
            if match := re.search(r" (?:WARNING|ERROR) (.*)", line):
                found[server.kind, re.sub(r"\d+", "N", match[1])[:200]] += 1
    return [[*key, n] for key, n in sorted(found.items())]


def report(content: dict[str, Any]) -> str:
    """The report for people."""
    swaps = [
        [kind, seen["promotions"], seen["answered"], seen["first_answer_s"], seen["last_old_answer_s"]]
        for kind, seen in content["swaps"].items()
    ]
    lines = [
        markdown(content),
        f"{content['clients']} clients; {content['cores']} cores, load {content['load'][0]} in the end.",
        "",
        *table(
            (
                "server",
                "promotions",
                "that answered",
                "s to the first answer, median and most",
                "s to the last old one",
            ),
            swaps,
        ),
        *table(
            ("server", "plain requests", "n", "ms, p50, p99 and most"),
            [list(row.values()) for row in content["times"]],
        ),
        *table(("versions on disk", "times seen"), content["versions_on_disk"].items()),
        "RSS and PSS in MiB. Growth an hour is that of the last two thirds of a life, with its 95% interval.",
        "",
        *table(
            ("process", *LIFE.values()), [[row[name] for name in ("role", *LIFE)] for row in content["lives"]]
        ),
        *table(
            ("killed worker of", "its connections", "not accepted"), [k.values() for k in content["kills"]]
        ),
        *table(("server", "warning or error in its log", "n"), content["log"]),
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the soak and report; 0 if all was as it should be."""
    args = build_parser().parse_args(argv)
    if sys.platform != "linux":
        print("Which worker has which connection is read from Linux. Run it there.", file=sys.stderr)
        return 2
    record = Record()
    with contextlib.ExitStack() as opened:
        if args.keep:
            args.keep.mkdir(parents=True)
            folder = args.keep
        else:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        more = asyncio.run(soak(args, folder.absolute(), record, opened))
    content = summary(record) | more
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{NAME}.json").write_text(json.dumps(content, indent=2) + "\n")
    (args.out / f"{NAME}.md").write_text(report(content) + "\n")
    print(report(content))
    print(f"Written to {args.out / NAME}.md and .json.", file=sys.stderr)
    return 1 if content["wrong_answers"] or content["unexpected_errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
