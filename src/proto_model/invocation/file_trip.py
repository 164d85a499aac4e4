"""A file's round trip: uploaded, scored through presigned URLs, downloaded, and checked against its rows."""

from __future__ import annotations

import csv
import hashlib
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.errors import InputError
from proto_model.invocation.http import InvocationError, endpoint, invoke
from proto_model.invocation.requests import job_body, job_summary
from proto_model.invocation.server import Server
from proto_model.invocation.store import Store

TIMEOUT_S = 4 * 3600.0
# How far the probabilities of a row may be from 1 together: each is written with 17 digits.
SLACK = 1e-9

Row = dict[str, str]


@dataclass(frozen=True)
class RoundTrip:
    """Rows that came back, and the summary of the job."""

    rows: list[Row]
    summary: dict[str, Any]


def round_trip(
    server: Server,
    store: Store,
    file: Path,
    folder: Path,
    *,
    explain: bool,
    wait_s: float,
    say: Callable[[str], None] = lambda text: None,
) -> RoundTrip:
    """Have a CSV file scored, by way of an empty folder; its objects are removed from the store in any case.

    The first column is copied to the output, to check that each row came back, in order. Raises StoreError or
    InvocationError for what fails, or comes back wrong.
    """
    sent = _read(file)
    column = next(iter(sent[0]))
    run = uuid.uuid4().hex
    source, target = f"{run}-in.csv", f"{run}-out.csv"
    try:
        store.upload(file, source)
        say(f"uploaded {file.stat().st_size:,} bytes to {store.shown}")
        job = {"input_url": store.sign("get_object", source), "output_url": store.sign("put_object", target)}
        params = {"passthrough": [column], "output_format": "csv"}
        path, body = job_body(job, params, through_mapper=server.is_mapper, explain=explain)
        summary = job_summary(invoke(endpoint(server.url, path), body, wait_s=wait_s, timeout_s=TIMEOUT_S))
        if summary["status"] != "done":
            raise InvocationError(f"The file was not scored. {summary.get('error')}{_advice(store, summary)}")
        say(f"scored {summary['rows']:,} rows in {summary['seconds']:.2f} s")
        came = folder / target
        store.download(target, came)
        say(f"downloaded {came.stat().st_size:,} bytes")
    finally:
        store.remove(source, target)
    _check_bytes(came, summary)
    rows = _read(came)
    check(sent, rows, column, summary)
    return RoundTrip(rows, summary)


def check(sent: list[Row], rows: list[Row], column: str, summary: dict[str, Any]) -> None:
    """Raise an InvocationError unless there is a prediction for each row that was sent, in order."""
    if not len(sent) == len(rows) == summary["rows"]:
        raise InvocationError(
            f"{len(sent):,} rows were sent, {len(rows):,} came back, and the answer says {summary['rows']:,}."
        )
    for number, (asked, answered) in enumerate(zip(sent, rows, strict=True)):
        if answered.get(column) != asked[column]:
            raise InvocationError(
                f"Row {number} came back with {column} {answered.get(column)!r} instead of {asked[column]!r}."
            )
        if not answered.get("prediction"):
            raise InvocationError(f"Row {number} came back without a prediction.")
        parts = [float(text) for name, text in answered.items() if name.startswith("probability_")]
        if parts and abs(math.fsum(parts) - 1) > SLACK * len(parts):
            raise InvocationError(f"The probabilities of row {number} add up to {math.fsum(parts)}.")


def _check_bytes(came: Path, summary: dict[str, Any]) -> None:
    digest = hashlib.sha256(came.read_bytes()).hexdigest()
    if summary.get("sha256") not in (None, digest):
        raise InvocationError("The file in the store is not what the model wrote: the SHA-256 differs.")


def _read(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cannot read {path} as CSV: {error}") from error
    if not rows:
        raise InputError(f"{path} has no rows.")
    return rows


def _advice(store: Store, summary: dict[str, Any]) -> str:
    """What to do if the server may not open a store of this machine."""
    if store.local is None or summary.get("error_type") != "url":
        return ""
    variables = " ".join(f"{name}={value}" for name, value in store.local.settings.items())
    return f"\nTo allow {store.shown}, start the model server again after\n  export {variables}"
