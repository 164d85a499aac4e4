"""Show everything once: train, compare, serve, predict, explain, score a file.

Everything stays on this machine: MLflow's store is mlflow.db and mlruns/ in
this repository. The servers and an object store listen on 127.0.0.1 and are
stopped at the end, also after Ctrl-C or a failure. You can run it again: each
run trains new versions and promotes a better one.

Example:
    python scripts/demo.py --dataset wine --n-candidates 4
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from processes import HOST, ROOT, DemoError, console, free_port, interrupt_on_signals, server, step
from rich.markup import escape
from rich.rule import Rule

from proto_model.addresses import MAX_PORT, port_number

N_FILE_ROWS = 100_000
_PROGRAMS = ("object_store", "file_model")
_BAR_CHARACTERS = 40
_MOST_BARS = 6


def _port(text: str) -> int:
    number = port_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} given, a port from 0 to {MAX_PORT} expected")
    return number


def build_parser() -> argparse.ArgumentParser:
    """Arguments of the demo, help taken from this module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--dataset", default="breast_cancer", help="what to train on (default: %(default)s)")
    parser.add_argument("--target", default="", help="column to predict, for a table of your own")
    parser.add_argument(
        "--n-candidates", default="", help="hyperparameter settings that each forest tries (default: 8)"
    )
    ports = {"model": 5001, "mapper": 8080, "file-model": 5002, "object-store": 9000}
    for name, port in ports.items():
        parser.add_argument(
            f"--{name}-port",
            type=_port,
            default=port,
            help="port, unless it is in use (default: %(default)s)",
        )
    parser.add_argument(
        "--store", type=Path, default=ROOT, help="folder of mlflow.db, mlruns/ and demo/ (logs)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every step worked, 1 when one failed, 130 after Ctrl-C."""
    args = build_parser().parse_args(argv)
    interrupt_on_signals()
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
    step(train, cwd=store, env=env)

    _headline("2  Compare and promote", "the challenger against the champion, on rows neither has seen")
    compare = [sys.executable, str(ROOT / "compare.py")]
    verdict = step(compare, cwd=store, env=env, accepted=(0, 1), stdout=subprocess.DEVNULL)
    console.print("The challenger is champion now." if verdict == 0 else "The champion was kept.")

    _headline("3  Serve the champion", "MLflow's own server, and the mapper in front of it")
    model_uri = "models:/proto_model@champion"
    model_port = free_port(args.model_port, "model server")
    mapper_port = free_port(args.mapper_port, "mapper")
    model_url, mapper_url = f"http://{HOST}:{model_port}", f"http://{HOST}:{mapper_port}"
    serve = ["mlflow", "models", "serve", "-m", model_uri, "-h", HOST, "-p", str(model_port)]
    servers.enter_context(
        server([*serve, "--env-manager", "local"], f"{model_url}/ping", logs / "model-server.log", store, env)
    )
    schema = _fetch_schema(model_uri, logs, store, env)
    mapper = [sys.executable, "-m", "mapper", "serve", "--model-server-url", model_url]
    mapper += ["--schema", model_uri, "--host", HOST, "--port", str(mapper_port)]
    servers.enter_context(server(mapper, f"{mapper_url}/readyz", logs / "mapper.log", ROOT, env))

    _headline("4  Ask through the mapper", "a plain HTTP request in the application's words")
    record = _typical_record(json.loads(schema.read_text(encoding="utf-8")))
    _exchange(f"{mapper_url}/v1/predict", {"data": record}, logs / "predict.json")
    _exchange(f"{mapper_url}/v1/explain", {"data": record}, logs / "explain.json")
    _picture(mapper_url, record, logs, env)

    _headline("5  Score a file", "of any size, through an object store and presigned URLs")
    _score_file(args, servers, logs, schema, env)

    _headline("Done", f"{time.monotonic() - started:.0f} s; the servers are stopped")
    mlflow_ui = f"mlflow ui --backend-store-uri sqlite:///{store / 'mlflow.db'}"
    shown = os.path.relpath(Path(sys.executable).parent)
    console.print(
        f"Runs, plots and versions:  [bold]{shown}/{mlflow_ui}[/bold], then http://{HOST}:5000",
        soft_wrap=True,
    )
    console.print(f"Logs of the servers:       {logs}", soft_wrap=True)


def _score_file(
    args: argparse.Namespace, servers: contextlib.ExitStack, folder: Path, schema: Path, env: dict[str, str]
) -> None:
    """Start an object store and a server for files; the mapper uploads, scores, downloads and cleans up."""
    store_port = free_port(args.object_store_port, "object store")
    model_port = free_port(args.file_model_port, "model server for files")
    objects, model = folder / "store", folder / "file_model"
    programs = {name: [sys.executable, str(ROOT / "scripts" / f"{name}.py")] for name in _PROGRAMS}
    store = [*programs["object_store"], "serve", "--folder", str(objects), "--port", str(store_port)]
    servers.enter_context(server(store, f"tcp://{HOST}:{store_port}", folder / "store.log", ROOT, env))
    variables = [*programs["object_store"], "env", "--folder", str(objects)]
    exports = subprocess.run(variables, env=env, capture_output=True, text=True, check=True).stdout
    env = env | dict(line.removeprefix("export ").split("=", 1) for line in exports.splitlines())

    step([*programs["file_model"], "--out", str(model)], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    model_url = f"http://{HOST}:{model_port}"
    serve = [sys.executable, "-m", "proto_model", "serve", "-m", str(model), "-p", str(model_port)]
    servers.enter_context(server(serve, f"{model_url}/ping", folder / "file-model-server.log", ROOT, env))

    rows, out = folder / "rows.parquet", folder / "predictions.csv"
    pq.write_table(_random_rows(json.loads(schema.read_text(encoding="utf-8"))), rows)
    predict = [sys.executable, "-m", "mapper", "predict", "--model-server-url", model_url]
    predict += ["--schema", str(schema), "--store", "s3://files"]
    predict += ["--file", str(rows), "--out", str(out), "--passthrough", "id"]
    step(predict, cwd=ROOT, env=env)
    with out.open(encoding="utf-8") as lines:
        head = "".join(f"  {line}" for line, _ in zip(lines, range(4), strict=False))
    console.print(head, markup=False, highlight=False, no_wrap=True, overflow="ellipsis")


def _environment(store: Path) -> dict[str, str]:
    """Environment of every step: this interpreter first on the path, and the embedded tracking store."""
    foreign = ("MLFLOW_", "AWS_", "PROTO_MODEL_FILES_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    env["MLFLOW_TRACKING_URI"] = f"sqlite:///{store / 'mlflow.db'}"
    env["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # to show that nothing is unpickled
    return env


def _fetch_schema(model_uri: str, folder: Path, cwd: Path, env: dict[str, str]) -> Path:
    """`schema.json` of a version: all that the mapper needs of it."""
    download = [sys.executable, "-m", "mlflow", "artifacts", "download"]
    download += ["-u", f"{model_uri}/mapper/schema.json", "-d", str(folder)]
    step(download, cwd=cwd, env=env, stdout=subprocess.DEVNULL)
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


def _random_rows(schema: dict[str, Any]) -> pa.Table:
    """Rows within the range of the training table, from all low to all high, each with an id."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": np.arange(N_FILE_ROWS)}
    level = random.uniform(size=N_FILE_ROWS)
    for feature in schema["features"]:
        if feature["type"] == "string":
            columns[feature["name"]] = random.choice(feature["categories"], N_FILE_ROWS)
            continue
        known = [feature[name] for name in ("minimum", "median", "maximum")]
        values = np.interp(level + random.normal(0, 0.1, N_FILE_ROWS), (0, 0.5, 1), known)
        is_whole = feature["type"] in ("long", "boolean")
        columns[feature["name"]] = np.rint(values).astype(np.int64) if is_whole else values
    return pa.table(columns)


def _exchange(url: str, body: dict[str, Any], file: Path) -> None:
    """Send one request; print its answer in words and as a drawing, and write both as JSON to a file."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    console.print(Rule(f"POST {url}", align="left"))
    try:
        with (
            console.status("Waiting for the answer"),
            urllib.request.urlopen(request, timeout=120) as response,
        ):
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise DemoError(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise DemoError(f"No answer from {url}: {error}") from error
    file.write_text(json.dumps({"request": body, "answer": answer}, indent=2), encoding="utf-8")
    model = answer["model"]
    console.print(f"{model['name']}, version {model['version']}", markup=False, highlight=False)
    for item in answer["predictions"]:
        _draw(item["probabilities"])
        _tell(item.get("explanation"))
    console.print(f"Request and answer as JSON: {file}", markup=False, highlight=False, soft_wrap=True)


def _picture(url: str, record: dict[str, Any], folder: Path, env: dict[str, str]) -> None:
    """Draw the explanation of a record into the folder."""
    row, picture = folder / "row.json", folder / "explanation.svg"
    row.write_text(json.dumps(record), encoding="utf-8")
    explain = [sys.executable, "-m", "mapper", "explain", "--url", url, "--data", str(row)]
    step([*explain, "--picture", str(picture)], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    console.print(f"The explanation as a picture: {picture}", markup=False, highlight=False, soft_wrap=True)


def _draw(probabilities: dict[str, float]) -> None:
    """A bar for each class, the most probable one first."""
    longest = max(map(len, probabilities))
    for name, value in sorted(probabilities.items(), key=lambda pair: -pair[1])[:_MOST_BARS]:
        bar = "\u2588" * round(value * _BAR_CHARACTERS)
        console.print(f"  {name:<{longest}}  {value:.3f} {bar}", markup=False, highlight=False)


def _tell(explanation: dict[str, Any] | None) -> None:
    """The rule and what would change the prediction, a line for each condition."""
    if explanation is None:
        return
    for sentence in (explanation["rule"], *explanation["counterfactuals"]):
        for number, part in enumerate(sentence["text"].replace(" THEN ", "\nTHEN ").split(" AND ")):
            console.print(f"  {'AND ' if number else ''}{part}", markup=False, highlight=False)


def _headline(title: str, text: str) -> None:
    console.print()
    console.print(Rule(f"[bold]{title}[/bold]: {text}", align="left"))


if __name__ == "__main__":
    sys.exit(main())
