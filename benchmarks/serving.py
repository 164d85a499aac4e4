"""Servers of the same forest, side by side: rows one by one, and 1000 in a body.

`plain` is a cloudpickle pyfunc of the scikit-learn pipeline with a column signature under `mlflow models
serve`; `ours` the model that this package logs, under the same; `lean` is `python -m proto_model serve`;
`mlserver` MLServer with this package's runtime, when its command is given. One process each. They take turns
in every round, and each round gives a ratio to `plain`; medians of the rounds are shown. Memory is that after
the load. Then the lean server starts once more and answers, to see what it has imported. Takes four minutes
with four servers. Ends with 1 when a target was missed.

Example: python benchmarks/serving.py --mlserver /path/to/venv/bin/mlserver
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from load import CLIENT, load
from servers import HEAVY, Models, Server, command, heavy_imports, machine, make_models, serving

RESULTS = Path(__file__).parent / "results"
CASES = {  # rows in a body, connections
    "1 row, 1 client": (1, 1),
    "1 row, 16 clients": (1, 16),
    "1000 rows, 1 client": (1000, 1),
}
TARGETS = {  # issue 3: times plain, and ms at the 99th percentile
    ("breast_cancer", "1 row, 1 client", "ours"): (8, None),
    ("breast_cancer", "1 row, 1 client", "lean"): (90, 0.3),
    ("breast_cancer", "1 row, 16 clients", "lean"): (300, 2.0),
    ("breast_cancer", "1000 rows, 1 client", "lean"): (7, None),
    ("breast_cancer", "1 row, 1 client", "mlserver"): (30, None),
    ("breast_cancer", "1 row, 16 clients", "mlserver"): (75, None),
    ("100 columns, deep", "1000 rows, 1 client", "lean"): (4, None),
}
# The lean server with the forest of breast_cancer.
TARGET_START_S = 1.0
TARGET_MEMORY_MB = 150.0


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; 0 when every target was reached."""
    args = build_parser().parse_args(argv)
    kinds = ["plain", "ours", "lean", *(["mlserver"] if args.mlserver else [])]
    results: dict[str, Any] = {"machine": machine(), "client": CLIENT, "servers": [], "cases": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        forests: dict[str, Models] = {
            "breast_cancer": make_models(folder / "shallow", "breast_cancer"),
            "100 columns, deep": make_models(folder / "deep", 100),
        }
        for name, models in forests.items():
            with ExitStack() as stack:
                servers = {
                    kind: stack.enter_context(serving(kind, models, folder, args.mlserver)) for kind in kinds
                }
                cases = CASES if name == "breast_cancer" else {"1000 rows, 1 client": (1000, 1)}
                for case, (n_rows, connections) in cases.items():
                    body = models.body(folder, n_rows)
                    results["cases"] += _compared(name, case, servers, body, connections, args)
                results["servers"] += [_described(name, models, kind, servers[kind]) for kind in kinds]
        results["heavy_imports"] = heavy_imports(forests["breast_cancer"], folder)
    _print(results)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    rows = results["cases"] + results["servers"]
    return 0 if all(row.get("reached", True) for row in rows) and not results["heavy_imports"] else 1


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mlserver", type=command, help="the command of an environment with MLServer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load per server and round")
    parser.add_argument(
        "--json",
        type=Path,
        default=RESULTS / "serving.json",
        help="where the numbers go (default: %(default)s)",
    )
    return parser


def _described(forest: str, models: Models, kind: str, server: Server) -> dict[str, Any]:
    """Start and memory of a server."""
    row = {
        "forest": forest,
        "nodes": models.n_nodes,
        "server": kind,
        "start_s": server.start_s,
        "memory_mb": server.memory_mb(),
    }
    if (forest, kind) == ("breast_cancer", "lean"):
        row["reached"] = row["start_s"] <= TARGET_START_S and row["memory_mb"] <= TARGET_MEMORY_MB
    return row


def _compared(
    forest: str,
    case: str,
    servers: dict[str, Server],
    body: Path,
    connections: int,
    args: argparse.Namespace,
) -> list[dict[str, Any]]:
    """A row per server: medians over the rounds, and ratios to the plain one within each round."""
    for server in servers.values():
        load(server.url, body, connections, 1)
    rounds = [
        {kind: load(server.url, body, connections, args.seconds) for kind, server in servers.items()}
        for _ in range(args.rounds)
    ]
    rows = []
    for kind in servers:
        loads = [each[kind] for each in rounds]
        row: dict[str, Any] = {
            "forest": forest,
            "case": case,
            "server": kind,
            "requests_per_s": statistics.median(item.requests_per_s for item in loads),
            "p50_ms": statistics.median(item.p50_ms for item in loads),
            "p99_ms": statistics.median(item.p99_ms for item in loads),
            "times_plain": statistics.median(
                each[kind].requests_per_s / each["plain"].requests_per_s for each in rounds
            ),
            "errors": sum(item.errors for item in loads),
        }
        target, p99_ms = TARGETS.get((forest, case, kind), (None, None))
        if target is not None:
            row["target"] = target
            row["target_p99_ms"] = p99_ms
            row["reached"] = row["times_plain"] >= target and (p99_ms is None or row["p99_ms"] <= p99_ms)
        rows.append(row)
    return rows


def _print(results: dict[str, Any]) -> None:
    print(json.dumps(results["machine"]), "client:", results["client"])
    print(f"\n{'forest':18} {'server':9} {'start s':>8} {'MB':>6}")
    for row in results["servers"]:
        figures = f"{row['start_s']:8.2f} {row['memory_mb']:6.0f}"
        target = ""
        if "reached" in row:
            target = (
                f"  {'reached' if row['reached'] else 'MISSED'} ({TARGET_START_S} s, {TARGET_MEMORY_MB:g} MB)"
            )
        print(f"{row['forest']:18} {row['server']:9} {figures}{target}")
    found = ", ".join(results["heavy_imports"]) or "none"
    print(f"imported by the lean server, of {', '.join(HEAVY)}: {found}")
    print(f"\n{'forest':18} {'case':20} {'server':9} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'x plain':>8}")
    for row in results["cases"]:
        figures = f"{row['requests_per_s']:8.0f} {row['p50_ms']:8.2f} {row['p99_ms']:8.2f}"
        figures += f" {row['times_plain']:8.1f}"
        target = ""
        if "target" in row:
            p99 = f", {row['target_p99_ms']} ms" if row["target_p99_ms"] else ""
            target = f"  {'reached' if row['reached'] else 'MISSED'} ({row['target']}{p99})"
        print(f"{row['forest']:18} {row['case']:20} {row['server']:9} {figures}{target}")


if __name__ == "__main__":
    sys.exit(main())
