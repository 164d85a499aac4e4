"""Show the whole way once: train, compare and promote, serve, map, predict, explain.

Everything stays on this machine: MLflow's store is mlflow.db and mlruns/ in the repository's folder, the
servers listen on 127.0.0.1 and are stopped at the end, also after Ctrl-C or a failure. It can be run again;
each run trains new versions and lets the better one be promoted.

Example:
    python scripts/demo.py --dataset wine --n-candidates 4
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.json import JSON
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

console = Console(stderr=True)


class DemoError(Exception):
    """A step of the demo failed; the message says which, and where its output is."""


def build_parser() -> argparse.ArgumentParser:
    """Arguments of the demo, help taken from this module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--dataset", default="breast_cancer", help="what to train on (default: %(default)s)")
    parser.add_argument("--target", default="", help="the column to predict, for a table of your own")
    parser.add_argument(
        "--n-candidates", default="", help="candidates of each search (default: the project's)"
    )
    parser.add_argument("--model-port", type=int, default=5001, help="wanted port (default: %(default)s)")
    parser.add_argument("--mapper-port", type=int, default=8080, help="wanted port (default: %(default)s)")
    parser.add_argument(
        "--store", type=Path, default=ROOT, help="folder of mlflow.db, mlruns/ and demo/ (logs)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every step worked, 1 when one failed, 130 after Ctrl-C."""
    args = build_parser().parse_args(argv)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with contextlib.ExitStack() as servers:
            _run(args, servers)
    except DemoError as error:
        console.print(f"[red]The demo stopped:[/red] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted.[/yellow] All servers that the demo started are stopped.")
        return 130
    return 0


def _run(args: argparse.Namespace, servers: contextlib.ExitStack) -> None:
    started = time.monotonic()
    store: Path = args.store.resolve()
    logs = store / "demo"
    logs.mkdir(parents=True, exist_ok=True)
    env = _environment(store)

    _headline("1  Train", "three forests, each tuned, evaluated, logged and registered")
    train = ["mlflow", "run", "--env-manager", "local", str(ROOT / "src"), "-P", f"dataset={args.dataset}"]
    for name in ("target", "n_candidates"):
        if value := getattr(args, name):
            train += ["-P", f"{name}={value}"]
    _step(train, cwd=store, env=env)

    _headline("2  Compare and promote", "the challenger against the champion, on rows neither has seen")
    compare = [sys.executable, str(ROOT / "compare.py")]
    verdict = _step(compare, cwd=store, env=env, accepted=(0, 1), stdout=subprocess.DEVNULL)
    console.print("The challenger is the champion now." if verdict == 0 else "The champion stays.")

    _headline("3  Serve the champion", "MLflow's own server, and the mapper in front of it")
    model_uri = "models:/proto_model@champion"
    model_port = _free_port(args.model_port, "model server")
    mapper_port = _free_port(args.mapper_port, "mapper")
    model_url, mapper_url = f"http://{HOST}:{model_port}", f"http://{HOST}:{mapper_port}"
    serve = ["mlflow", "models", "serve", "-m", model_uri, "-h", HOST, "-p", str(model_port)]
    servers.enter_context(
        _server(
            [*serve, "--env-manager", "local"], f"{model_url}/ping", logs / "model-server.log", store, env
        )
    )
    schema = _fetch_schema(model_uri, logs, store, env)
    mapper = [sys.executable, "-m", "mapper", "serve", "--model-server-url", model_url]
    mapper += ["--schema", str(schema), "--host", HOST, "--port", str(mapper_port)]
    servers.enter_context(_server(mapper, f"{mapper_url}/readyz", logs / "mapper.log", ROOT, env))

    _headline("4  Ask through the mapper", "a plain HTTP request in the application's words")
    record = _typical_record(json.loads(schema.read_text(encoding="utf-8")))
    _exchange(f"{mapper_url}/v1/predict", {"data": record})
    _exchange(f"{mapper_url}/v1/explain", {"data": record})

    _headline("Done", f"{time.monotonic() - started:.0f} s; the servers are stopped now")
    mlflow_ui = f"mlflow ui --backend-store-uri sqlite:///{store / 'mlflow.db'}"
    shown = os.path.relpath(Path(sys.executable).parent)
    console.print(f"Runs, plots and versions:  [bold]{shown}/{mlflow_ui}[/bold], then http://{HOST}:5000")
    console.print(f"Logs of the servers:       {logs}")


def _environment(store: Path) -> dict[str, str]:
    """Environment of every step: this interpreter first on the path, and the embedded tracking store."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    env["MLFLOW_TRACKING_URI"] = f"sqlite:///{store / 'mlflow.db'}"
    env["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # to show that nothing is unpickled
    return env


def _step(
    command: list[str], *, cwd: Path, env: dict[str, str], accepted: tuple[int, ...] = (0,), **options: Any
) -> int:
    """Exit code of a command that is run in the foreground, its output going straight to the terminal."""
    console.print(f"[dim]$ {escape(' '.join(_shown(part) for part in command))}[/dim]")
    process = subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **options)
    try:
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    if code not in accepted:
        raise DemoError(f"`{_shown(command[0])} {' '.join(command[1:3])} ...` ended with {code}; see above.")
    return code


@contextlib.contextmanager
def _server(command: list[str], ready_url: str, log: Path, cwd: Path, env: dict[str, str]) -> Iterator[None]:
    """A server that answers at `ready_url` while the context is open; its output goes to `log`."""
    console.print(f"[dim]$ {escape(' '.join(_shown(part) for part in command))}[/dim]")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with console.status(f"Waiting for {ready_url}"):
            deadline = time.monotonic() + START_TIMEOUT_S
            while not _answers(ready_url):
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                    raise DemoError(f"no answer from {ready_url}. The end of {log}:\n{tail}")
                time.sleep(0.1)
        console.print(f"[green]ready[/green] {ready_url}")
        yield
    finally:
        _stop(process)
        _wait_until_closed(ready_url)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, which share its process group: politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:  # a child may outlive its parent; the group tells
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return


def _wait_until_closed(url: str) -> None:
    """Return once nothing listens at a URL's port: a killed process closes its sockets a moment later."""
    address = urlsplit(url)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((address.hostname or HOST, address.port or 80)) != 0:
                return
        time.sleep(0.02)
    raise DemoError(f"a server that was stopped still listens on port {address.port}.")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _free_port(wanted: int, purpose: str) -> int:
    """The wanted port, or any free one when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                console.print(f"Port {wanted} is in use; the {purpose} takes another one.")
                continue
            return int(probe.getsockname()[1])
    raise DemoError(f"no free port on {HOST} for the {purpose}.")


def _fetch_schema(model_uri: str, folder: Path, cwd: Path, env: dict[str, str]) -> Path:
    """`schema.json` of a version: all that the mapper needs of it."""
    download = [sys.executable, "-m", "mlflow", "artifacts", "download"]
    download += ["-u", f"{model_uri}/mapper/schema.json", "-d", str(folder)]
    _step(download, cwd=cwd, env=env, stdout=subprocess.DEVNULL)
    return next(folder.rglob("schema.json"))


def _typical_record(schema: dict[str, Any]) -> dict[str, Any]:
    """A record in the middle of the training table: medians and commonest categories."""
    record: dict[str, Any] = {}
    for feature in schema["features"]:
        match feature["type"]:
            case "string":
                record[feature["name"]] = feature["most_frequent"]
            case "boolean":
                record[feature["name"]] = feature["median"] >= 0.5
            case "long":
                record[feature["name"]] = round(feature["median"])
            case _:
                record[feature["name"]] = float(f"{feature['median']:.6g}")
    return record


def _exchange(url: str, body: dict[str, Any]) -> None:
    """Send one request and print it and its answer."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    console.print(Rule(f"POST {url}", align="left"))
    _show_json("request", body)
    try:
        with (
            console.status("Waiting for the answer"),
            urllib.request.urlopen(request, timeout=120) as response,
        ):
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise DemoError(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise DemoError(f"no answer from {url}: {error}") from error
    _show_json("answer", answer)
    for explanation in (item["explanation"] for item in answer["predictions"] if "explanation" in item):
        console.print("[bold]In words:[/bold]")
        for sentence in (explanation["rule"], *explanation["counterfactuals"]):
            console.print(f"  {sentence['text']}", markup=False, highlight=False)


def _show_json(title: str, value: dict[str, Any]) -> None:
    text = JSON(json.dumps(_shortened(value))).text
    text.no_wrap, text.overflow = False, "fold"
    console.print(Panel(text, title=title, title_align="left"))


def _shortened(value: Any, most: int = 6) -> Any:
    """The same JSON value with long objects and arrays cut, for reading."""
    if isinstance(value, dict):
        items = [(key, _shortened(item, most)) for key, item in list(value.items())[:most]]
        if len(value) > most:
            items.append(("...", f"{len(value) - most} more"))
        return dict(items)
    if isinstance(value, list):
        shown = [_shortened(item, most) for item in value[:most]]
        return [*shown, f"... {len(value) - most} more"] if len(value) > most else shown
    return value


def _headline(title: str, text: str) -> None:
    console.print()
    console.print(Rule(f"[bold]{title}[/bold]: {text}", align="left"))


def _shown(part: str) -> str:
    """A command's part as a reader would type it."""
    for prefix, short in ((sys.executable, "python"), (f"{ROOT}{os.sep}", "")):
        part = part.replace(prefix, short)
    return part


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Begin the clean-up, and let no second Ctrl-C cut it short: it would leave servers behind."""
    for name in _SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
