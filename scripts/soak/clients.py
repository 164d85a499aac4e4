"""The clients of the soak: steady load whose answers are all checked, file jobs, crowds, hostile bytes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from scripts.soak.record import Record
from scripts.soak.stage import Stage, json_bytes
from scripts.soak.wire import HOST, Connection, NoAnswerError, Reply, read_reply

MAX_ROWS = 20
EXPLAIN_EVERY = 40
BUSY = (429, 503)
#: What may be disturbed behind the front of each server.
PARTS = {"rows": ("rows",), "mapper": ("mapper", "model relay", "rows"), "files": ("files", "store relay")}
#: In a crowd, a server that is full may say that it is busy, or turn a connection away: no more than that.
CROWDS = ("crowd at rows", "crowd at mapper")
#: What a hostile request may get: a refusal, or an answer where it happens to be sound.
REFUSALS = {200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 421, 422, 426, 429, 431, 501, 503, 505}
HOSTILE_WAIT_S = 1.5
SUFFIXES = ("csv", "jsonl", "parquet", "arrow")


class Steady:
    """Requests at a bounded rate on connections that are kept, in every protocol, each answer checked."""

    def __init__(self, stage: Stage, record: Record, rng: random.Random) -> None:
        self._stage, self._record, self._rng = stage, record, rng
        self._ids = itertools.count()

    async def run(self, kind: str, interval_s: float) -> None:
        """One client; `kind` is `invocations`, `v2` or `mapper`."""
        front = self._stage.fronts["mapper" if kind == "mapper" else "rows"]
        connection = Connection(front.port)
        parts = PARTS["mapper" if kind == "mapper" else "rows"]
        try:
            while True:
                begin = time.monotonic()
                await self._one(kind, connection, parts)
                self._record.retried[kind] += connection.retried
                connection.retried = 0
                await asyncio.sleep(max(0.0, begin + interval_s - time.monotonic()))
        finally:
            connection.close()

    async def _one(self, kind: str, connection: Connection, parts: Sequence[str]) -> None:
        number = next(self._ids)
        explain = number % EXPLAIN_EVERY == 0 and kind != "v2"
        places = self._rng.sample(range(len(self._stage.models.records)), 1 if explain else self._size())
        path, content = self._request(kind, places, explain, f"soak-{number}")
        actor = f"{kind}, explained" if explain else kind
        since = time.monotonic()
        try:
            reply = await connection.post(path, json_bytes(content), {"X-Request-Id": f"soak-{number}"})
        except NoAnswerError as error:
            self._record.failed(actor, str(error), since, (*parts, *CROWDS))
            return
        if reply.status != 200:
            parts = (*parts, *CROWDS) if reply.status in BUSY else parts
            self._record.failed(actor, str(reply.status), since, parts, reply.body[:300].decode("latin-1"))
            return
        complaint = self._complaint(kind, reply, places, explain, f"soak-{number}")
        if complaint:
            self._record.wrongly(actor, complaint)
        else:
            self._record.answered(actor, "200, right")

    def _size(self) -> int:
        return 1 if self._rng.random() < 0.7 else self._rng.randint(2, MAX_ROWS)

    def _request(self, kind: str, places: list[int], explain: bool, request_id: str) -> tuple[str, Any]:
        records = [self._stage.models.records[place] for place in places]
        names = self._stage.models.names
        if kind == "mapper":
            return ("/v1/explain" if explain else "/v1/predict"), {"data": records, "session": request_id}
        if kind == "v2":
            inputs = [
                {"name": n, "shape": [len(records)], "datatype": "FP64", "data": [r[n] for r in records]}
                for n in names
            ]
            return "/v2/models/proto_model/infer", {"id": request_id, "inputs": inputs}
        params = {"params": {"explain": True}} if explain else {}
        rows = [list(record.values()) for record in records]
        return "/invocations", {"dataframe_split": {"columns": names, "data": rows}, **params}

    def _complaint(self, kind: str, reply: Reply, places: list[int], explain: bool, request_id: str) -> str:
        """What is wrong with an answer; empty if all of it is what one of the two versions says."""
        content = reply.json()
        try:
            rows, echoed = rows_of(kind, content)
            explained = all(row.pop("explanation")["rule"] for row in rows) if explain else True
        except (KeyError, TypeError, AttributeError, ValueError):
            return f"unreadable: {reply.body[:300]!r}"
        if echoed not in (None, request_id):
            return f"the answer to {echoed} came to {request_id}"
        for version in self._stage.models.versions:
            if rows == [version.answers[place] for place in places] and explained:
                return ""
        return f"rows {places} got {json.dumps(rows)[:500]}"


def rows_of(kind: str, content: Any) -> tuple[list[dict[str, Any]], str | None]:
    """Rows of an answer in the words of `/invocations`, and the request that it says it answers."""
    if kind == "invocations":
        return list(content["predictions"]), None
    if kind == "mapper":
        rows = []
        for item in content["predictions"]:
            shares = item.pop("probabilities")
            rows.append({**item, **{f"probability_{name}": share for name, share in shares.items()}})
        return rows, content["session"]
    columns = {output["name"]: output["data"] for output in content["outputs"]}
    columns.pop("explanation", None)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)], (
        content["id"]
    )


class FileJobs:
    """File jobs one after the other, in every format; outputs are read back and compared."""

    def __init__(self, stage: Stage, record: Record) -> None:
        self._stage, self._record = stage, record
        for suffix in SUFFIXES:
            stage.store.path(f"in.{suffix}").write_bytes(_file(stage.models.records, suffix))

    async def run(self, pause_s: float) -> None:
        """Jobs without end."""
        connection = Connection(self._stage.fronts["files"].port)
        try:
            for number in itertools.count():
                await self._one(connection, number, SUFFIXES[number % len(SUFFIXES)])
                await asyncio.sleep(pause_s)
        finally:
            connection.close()

    async def _one(self, connection: Connection, number: int, suffix: str) -> None:
        store, key = self._stage.store, f"out-{number}.jsonl"
        urls = await asyncio.to_thread(
            lambda: {
                "input_url": store.presign("get_object", f"in.{suffix}"),
                "output_url": store.presign("put_object", key),
            }
        )
        actor, since, parts = f"file, {suffix}", time.monotonic(), PARTS["files"]
        status, detail = "", ""
        try:
            reply = await connection.post(
                "/invocations",
                json_bytes({"dataframe_records": [urls], "params": {"output_format": "jsonl"}}),
            )
            if reply.status == 200:
                [job] = reply.json()["predictions"]
                status, detail = job["status"], f"{job.get('error')}"
            else:
                status, detail = str(reply.status), reply.body[:300].decode("latin-1")
        except NoAnswerError as error:
            status = str(error)
        self._record.retried["file"] += connection.retried
        connection.retried = 0
        output = store.path(key)
        wrong = self._complaint(output.read_bytes()) if output.exists() else ""
        if wrong or (status == "done" and not output.exists()):
            self._record.wrongly(actor, wrong or "done, but there is no output")
        elif status == "done":
            self._record.answered(actor, "done, right")
        else:
            self._record.failed(actor, status, since, parts, detail)
        output.unlink(missing_ok=True)

    def _complaint(self, written: bytes) -> str:
        """What is wrong with an output: it is whole and right, or not there."""
        try:
            rows = list(map(json.loads, written.splitlines()))
        except ValueError:
            return f"half an output of {len(written)} bytes"
        expected = self._stage.models.files.answers
        if len(rows) != len(expected):
            return f"{len(rows)} rows of {len(expected)}"
        differ = [place for place, (a, b) in enumerate(zip(rows, expected, strict=True)) if a != b]
        return f"row {differ[0]} is {rows[differ[0]]}" if differ else ""


def _file(records: list[dict[str, Any]], suffix: str) -> bytes:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if suffix == "jsonl":
        return b"".join(json_bytes(record) + b"\n" for record in records)
    table, sink = pa.Table.from_pylist(records), io.BytesIO()
    if suffix == "csv":
        pa.csv.write_csv(table, sink)
    elif suffix == "parquet":
        pa.parquet.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


class Crowd:
    """Hundreds of connections at once: a third asks, a third asks and reads slowly, a third says nothing."""

    def __init__(self, stage: Stage, record: Record, rng: random.Random) -> None:
        self._stage, self._record, self._rng = stage, record, rng

    async def come(self, kind: str, n: int) -> None:
        """One crowd; it comes, and goes."""
        parts = PARTS[kind]
        await asyncio.gather(*(self._one(kind, i % 3, parts) for i in range(n)))

    async def _one(self, kind: str, sort: int, parts: Sequence[str]) -> None:
        actor = f"crowd, {kind}"
        record = self._stage.models.records[0]
        is_mapper = kind == "mapper"
        path, content = (
            ("/v1/predict", {"data": record})
            if is_mapper
            else ("/invocations", {"dataframe_records": [record]})
        )
        body = json_bytes(content)
        since = time.monotonic()
        front = self._stage.fronts["mapper" if is_mapper else "rows"]
        await asyncio.sleep(self._rng.random() * 0.3)
        try:
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(HOST, front.port)
                with contextlib.closing(writer):
                    if sort == 2:
                        await asyncio.sleep(self._rng.random() * 2)
                        self._record.answered(actor, "silent")
                        return
                    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{front.port}\r\n"
                    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    writer.write(head.encode() + body)
                    await writer.drain()
                    await asyncio.sleep(sort * self._rng.random())
                    reply = await read_reply(reader)
        except (OSError, EOFError, TimeoutError) as error:
            # Far beyond its limits, a server closes connections without a word.
            self._record.failed(actor, f"turned away: {type(error).__name__}", since, (*parts, *CROWDS))
            return
        if reply.status in BUSY:
            self._record.answered(actor, f"{reply.status}, busy")
        elif reply.status == 200:
            self._record.answered(actor, "200")
        else:
            self._record.failed(actor, str(reply.status), since, parts, reply.body[:300].decode("latin-1"))


class Hostile:
    """Bytes that no client should send; whatever comes back has to be a refusal."""

    def __init__(self, stage: Stage, record: Record, rng: random.Random) -> None:
        self._stage, self._record, self._rng = stage, record, rng

    async def run(self, pause_s: float) -> None:
        """One after the other, to each server in turn."""
        for kind in itertools.cycle(("rows", "mapper", "files")):
            name, message = self._message(kind)
            await self._send(kind, name, message)
            await asyncio.sleep(pause_s)

    async def _send(self, kind: str, name: str, message: bytes) -> None:
        actor, since = f"hostile, {kind}", time.monotonic()
        relay = {"rows": "rows", "mapper": "mapper", "files": "files"}[kind]
        port = self._stage.fronts[relay].port  # type: ignore[index]
        parts = PARTS[kind]
        try:
            async with asyncio.timeout(HOSTILE_WAIT_S):
                reader, writer = await asyncio.open_connection(HOST, port)
                with contextlib.closing(writer):
                    writer.write(message)
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                    reply = await read_reply(reader)
        except TimeoutError:
            self._record.answered(actor, "waits for more")
        except (OSError, EOFError):
            self._record.answered(actor, "closed")
        else:
            if reply.status in REFUSALS:
                self._record.answered(actor, f"{reply.status}")
            else:
                detail = f"{name}: {reply.body[:300]!r} to {message[:300]!r}"
                self._record.failed(actor, str(reply.status), since, parts, detail)

    def _message(self, kind: str) -> tuple[str, bytes]:
        path = "/v1/predict" if kind == "mapper" else "/invocations"
        name, body = self._rng.choice(list(self._bodies(kind)))
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        shapes = {
            "as it is": whole,
            "bytes changed": self._changed(whole),
            "cut": whole[: self._rng.randrange(len(whole))],
            "random": self._rng.randbytes(self._rng.randrange(1, 4000)),
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00" + self._rng.randbytes(500),
            "two lengths": whole.replace(b"Content-Length", b"Content-Length: 5\r\nContent-Length", 1),
            "length and chunks": whole.replace(
                b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length", 1
            ),
            "long head": b"GET / HTTP/1.1\r\na: " + b"x" * 50_000 + b"\r\n\r\n",
            "sent ahead": (b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n" * 50) + self._changed(whole),
            "V2": whole.replace(path.encode(), b"/v2/models/proto_model/infer", 1),
        }
        shape = self._rng.choice(list(shapes))
        return f"{name}, {shape}", shapes[shape]

    def _changed(self, message: bytes) -> bytes:
        changed = bytearray(message)
        for _ in range(self._rng.randint(1, 6)):
            changed[self._rng.randrange(len(changed))] = self._rng.randrange(256)
        return bytes(changed)

    def _bodies(self, kind: str) -> Iterator[tuple[str, bytes]]:
        record = self._stage.models.records[1]
        rows: Any = {"data": record} if kind == "mapper" else {"dataframe_records": [record]}
        key = "data" if kind == "mapper" else "inputs"
        yield "rows", json_bytes(rows)
        yield "deep", b'{"%b":' % key.encode() + b"[" * 100_000 + b"]" * 100_000 + b"}"
        yield "huge number", b'{"%b":[{"alcohol":' % key.encode() + b"9" * 5000 + b"}]}"
        yield "wrong values", json_bytes({key: [dict.fromkeys(record)]})
        yield "half a pair", b'{"%b":[{"alcohol":"\\ud800"}]}' % key.encode()
        yield "UTF-16", json.dumps(rows).encode("utf-16")
        yield "duplicate keys", b'{"%b":[],"%b":[{}]}' % (key.encode(), key.encode())
        yield (
            "URLs",
            json_bytes({"inputs": {"input_url": "http://169.254.169.254/", "output_url": "file:///x"}}),
        )
        yield "URL", json_bytes({"file": {"input_url": "gopher://[::1]/", "output_url": 5}})
        yield "empty", b""
