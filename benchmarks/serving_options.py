"""What `--follow`, tokens, several models and TLS cost the lean server and the mapper: CPU and requests/s.

    python benchmarks/serving_options.py
    python benchmarks/serving_options.py --servers mapper --rounds 30

For each kind of server one is plain, one is the same, and one has each of the options; `all` follows an
alias, checks tokens and serves two models. This client sends some requests to the one and then to the
other, a few hundredths of a second apart, so that both meet the same machine; a round is the median of many
such pairs. Prints CPU time of the server per request, its ratio to that of the plain one with the lowest
and the highest round, the same for requests/s, and what a server that is asked nothing takes of a core,
with the processes that ask the registry. A registry with a followed alias is made for it, and asked every
ten seconds. The mappers ask a lean server that serves both models. Ends with 1 when an option other than
TLS costs more than a twentieth. Writes benchmarks/results/serving_options.json. Needs Linux; TLS needs
openssl.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from mapping import stop
from servers import Models, descendants, machine, make_models

RESULTS = Path(__file__).parent / "results" / "serving_options.json"
MODEL = "options"
FOLLOW_S = "10"
TICKS = os.sysconf("SC_CLK_TCK")
LIMIT_CPU = 1.05  # issue 12
FREE = "TLS"  # shown, without a limit
PLAIN, AGAIN = "plain", "the same"  # what the comparison of two equal servers gives
TLS = shutil.which("openssl") is not None
LISTENING = re.compile(r"(?:listening on| on) (https?://\S+:\d+)")
START_S = 60
BURST, WARM = 160, 2000  # requests


@dataclass(frozen=True)
class Option:
    """How a server is started, and where and with which token it is asked."""

    name: str
    flags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # URIs by name, NAME=URI; none: the folder of the model
    path: str = ""
    token: str = ""


@dataclass
class Ratios:
    """An option against the plain server, round by round."""

    server: str
    option: str
    cpu_us: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    idle_ms_per_s: float = 0.0
    plain_idle_ms_per_s: float = 0.0

    @property
    def reached(self) -> bool:
        """Whether the option is cheap enough."""
        return self.option in (AGAIN, FREE) or statistics.median(self.cpu) <= LIMIT_CPU


@dataclass(frozen=True)
class Scene:
    """What all servers share: a folder for files, the model, and the environment with its registry."""

    folder: Path
    models: Models
    environment: Mapping[str, str]
    token_file: Path
    token: str
    chain: Path
    key: Path


Asked = tuple[Callable[[], "Client"], int]
"""What connects to a server, and its first process."""


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; 0 when the options are cheap enough."""
    args = build_parser().parse_args(argv)
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        scene = prepared(Path(temporary))
        for kind in args.servers:
            with ExitStack() as stack:
                found += compared(kind, scene, args, stack)
    report(found)
    RESULTS.parent.mkdir(exist_ok=True)
    content = {"machine": machine(), "ratios": [asdict(ratios) for ratios in found]}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if all(ratios.reached for ratios in found) else 1


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", nargs="+", choices=("lean", "mapper"), default=["lean", "mapper"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--pairs", type=int, default=30, help="of bursts in a round (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="connections (default: %(default)s)")
    parser.add_argument("--idle-s", type=float, default=30.0, help="how long servers are left alone")
    return parser


def prepared(folder: Path) -> Scene:
    """A model with two versions in a registry, tokens, and certificates."""
    models = make_models(folder / "models", "breast_cancer")
    registry = f"sqlite:///{folder / 'mlflow.db'}"
    from mlflow import MlflowClient

    client = MlflowClient(registry, registry)
    client.create_registered_model(MODEL)
    for _ in range(2):
        client.create_model_version(MODEL, str(models.ours))
    client.set_registered_model_alias(MODEL, "champion", "1")
    client.set_registered_model_alias(MODEL, "challenger", "2")
    token = "t" * 32
    token_file = folder / "tokens"
    others = "".join(f"client-{number}: {number:032d}\n" for number in range(19))
    token_file.write_text(f"{others}load: {token}\n")
    token_file.chmod(0o600)
    chain, key = folder / "chain.pem", folder / "key.pem"
    if TLS:
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]
        command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(chain)]
        subprocess.run(command, check=True, capture_output=True)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAPPER_", "PROTO_MODEL_"))
    }
    return Scene(folder, models, kept | {"MLFLOW_TRACKING_URI": registry}, token_file, token, chain, key)


def options_of(kind: str, scene: Scene) -> list[Option]:
    """What is compared, the plain server first."""
    champion, challenger = (f"models:/{MODEL}@{alias}" for alias in ("champion", "challenger"))
    tokens = ("--token-file", str(scene.token_file))
    tls = ("--tls-cert", str(scene.chain), "--tls-key", str(scene.key))
    follow = ("--follow", FOLLOW_S)
    second = "/models/b/invocations" if kind == "lean" else "/models/b/v1/predict"
    local = str(scene.models.ours)
    return [
        Option(PLAIN),
        Option(AGAIN),
        Option("--follow", follow, (champion,)),
        Option("tokens", tokens, token=scene.token),
        Option("two models", (), (f"a={local}", f"b={local}"), second),
        Option("all", (*follow, *tokens), (f"a={champion}", f"b={challenger}"), second, scene.token),
        *([Option(FREE, tls)] if TLS else []),
    ]


def compared(kind: str, scene: Scene, args: argparse.Namespace, stack: ExitStack) -> list[Ratios]:
    """Ratios of each option, each measured beside the plain server."""
    behind = ""
    row = dict(zip(scene.models.columns, scene.models.row, strict=True))
    content, path = {"dataframe_records": [row]}, "/invocations"
    if kind == "mapper":
        behind, _ = stack.enter_context(running("lean", option_for_mappers(scene), scene, ""))
        content, path = {"data": row}, "/v1/predict"
    plain, *options = options_of(kind, scene)
    clients = {}
    for option in (plain, *options):
        url, process = stack.enter_context(running(kind, option, scene, behind))
        body = json.dumps(content).encode()
        clients[option.name] = (
            partial(Client, url, option.path or path, body, option.token, args.clients),
            process.pid,
        )
        with closing(clients[option.name][0]()) as client:
            client.ask(WARM)
    found = [Ratios(kind, option.name) for option in options]
    for _ in range(args.rounds):
        for ratios in found:
            one_round(clients[PLAIN], clients[ratios.option], args.pairs, ratios)
    idle = idle_shares([pid for _, pid in clients.values()], args.idle_s)
    for ratios, share in zip(found, idle[1:], strict=True):
        ratios.idle_ms_per_s, ratios.plain_idle_ms_per_s = 1000 * share, 1000 * idle[0]
    return found


def one_round(plain: Asked, option: Asked, pairs: int, ratios: Ratios) -> None:
    """Add what many pairs of short bursts give, over new connections: servers close those that are idle."""
    cpu_us, cpu, rate = [], [], []
    with ExitStack() as stack:
        sides = [(stack.enter_context(closing(connect())), pid) for connect, pid in (plain, option)]
        for number in range(pairs):
            figures = {side: burst(*sides[side]) for side in ((0, 1) if number % 2 == 0 else (1, 0))}
            (plain_cpu, plain_s), (own_cpu, own_s) = figures[0], figures[1]
            cpu_us.append(1e6 * own_cpu / BURST)
            cpu.append(own_cpu / plain_cpu)
            rate.append(plain_s / own_s)
    ratios.cpu_us.append(statistics.median(cpu_us))
    ratios.cpu.append(statistics.median(cpu))
    ratios.rate.append(statistics.median(rate))


def burst(client: Client, pid: int) -> tuple[float, float]:
    """CPU seconds of the server, and seconds, for some requests."""
    before, begin = cpu_seconds(pid), time.perf_counter()
    client.ask(BURST)
    elapsed = time.perf_counter() - begin
    return cpu_seconds(pid) - before, elapsed


def idle_shares(pids: list[int], seconds: float) -> list[float]:
    """CPU seconds per second of servers that are asked nothing, with processes that come and go."""
    before = [[ticks(pid) for pid in pids], time.perf_counter()]
    time.sleep(seconds)
    spent = time.perf_counter() - before[1]
    return [(ticks(pid) - earlier) / TICKS / spent for pid, earlier in zip(pids, before[0], strict=True)]


class Client:
    """Some connections to a server, on each of which it sends the same request again and again."""

    def __init__(self, url: str, path: str, body: bytes, token: str, connections: int) -> None:
        parts = urlsplit(url)
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        self._message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._sockets = [
            socket.create_connection((parts.hostname or "", parts.port or 0)) for _ in range(connections)
        ]
        if parts.scheme == "https":
            context = ssl._create_unverified_context()
            self._sockets = [context.wrap_socket(plain) for plain in self._sockets]

    def close(self) -> None:
        """Close the connections."""
        for connection in self._sockets:
            connection.close()

    def ask(self, count: int) -> None:
        """Send a request on each connection, then read the answers, until there are so many."""
        for _ in range(0, count, len(self._sockets)):
            for connection in self._sockets:
                connection.sendall(self._message)
            for connection in self._sockets:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        received = b""
        while True:
            chunk = connection.recv(1 << 16)
            received += chunk
            head, end, rest = received.partition(b"\r\n\r\n")
            if not chunk or not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"no answer: {received.decode(errors='replace')[:500]}")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            if end and length and len(rest) >= int(length[1]):
                return


def option_for_mappers(scene: Scene) -> Option:
    """The lean server that all mappers ask."""
    local = str(scene.models.ours)
    return Option("behind", (), (f"a={local}", f"b={local}"))


@contextmanager
def running(
    kind: str, option: Option, scene: Scene, behind: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that listens: its URL and its first process."""
    models = option.models or (str(scene.models.ours),)
    if kind == "lean":
        command = [sys.executable, "-m", "proto_model", "serve", "-p", "0"]
        command += [part for uri in models for part in ("-m", uri)]
    else:
        command = [sys.executable, "-m", "mapper", "serve", "--port", "0", "--model-server-url", behind]
        command += [part for uri in models for part in ("--schema", uri)]
    log = scene.folder / f"{kind}-{option.name.strip('-').replace(' ', '-')}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, *option.flags], stderr=stderr, cwd=scene.folder, env=scene.environment
        )
    try:
        end = time.monotonic() + START_S
        while not (listening := LISTENING.search(log.read_text())):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{kind}, {option.name}: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        while not answers(listening[1]):  # it says so before it answers
            time.sleep(0.02)
        yield listening[1], process
    finally:
        stop(process)


def answers(url: str) -> bool:
    """Whether connections are accepted."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0)).close()
    except ConnectionRefusedError:
        return False
    return True


def cpu_seconds(pid: int) -> float:
    """CPU time of the threads of a process and of those it has started, to the nanosecond."""
    total = 0
    for one in (pid, *descendants(pid)):
        for path in Path(f"/proc/{one}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
    return total / 1e9


def ticks(pid: int) -> int:
    """CPU time of a process, of those it has started, and of those of them that have ended."""
    total = 0
    for one in (pid, *descendants(pid)):
        values = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, values[11:15]))
    return total


def report(found: list[Ratios]) -> None:
    """Print a row per option."""
    print(json.dumps(machine()))
    columns = ("CPU us", "x plain", "low", "high", "rate", "low", "high", "idle ms/s", "plain")
    print(f"{'server':8}{'option':12}" + "".join(f"{column:>10}" for column in columns))
    for row in found:
        figures = [statistics.median(row.cpu_us)]
        for ratios in (row.cpu, row.rate):
            figures += [statistics.median(ratios), min(ratios), max(ratios)]
        figures += [row.idle_ms_per_s, row.plain_idle_ms_per_s]
        print(f"{row.server:8}{row.option:12}" + "".join(f"{figure:10.3f}" for figure in figures), end="")
        print("" if row.reached else f"  MISSED ({LIMIT_CPU})")


if __name__ == "__main__":
    sys.exit(main())
