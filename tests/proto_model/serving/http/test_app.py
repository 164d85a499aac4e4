"""Routes, limits, and what takes long; errors that nobody foresaw stay inside."""

import asyncio
import gc
import gzip
import json
import logging
import re
import time
import zlib
from types import SimpleNamespace

import pytest

from proto_model.errors import InputError
from proto_model.model import Predictor
from proto_model.serving.http import ServedModel
from proto_model.serving.http.app import REFUSED
from proto_model.serving.http.connection import Limits
from proto_model.serving.http.errors import STATUS
from proto_model.serving.http.metrics import STATUSES
from proto_model.serving.http.service import SMALL_BODY_BYTES

ROW = {"age": 40, "income": 2e4, "job": "nurse", "owner": True, "children": 1}
JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"inputs": [ROW]}).encode()
EXPLAIN = json.dumps({"inputs": [ROW], "params": {"explain": True}}).encode()
LARGE = json.dumps({"inputs": [ROW] * 1000}).encode()


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_health_is_told_as_by_mlflow(call, path):
    reply = call(path, method="GET")

    assert (reply.status, reply.body) == (200, b"\n")


def test_version_is_the_one_of_mlflow_that_logged_the_model(call):
    import mlflow

    assert call("/version", method="GET").body.decode() == mlflow.__version__


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/invocations", 405),
        ("POST", "/ping", 405),
        ("DELETE", "/v2/models/proto_model", 405),
        ("GET", "/v2/models/proto_model/infer", 405),
        ("GET", "/nothing", 404),
        ("GET", "/v2nothing", 404),
        ("GET", "/", 404),
        ("HEAD", "/ping", 200),
    ],
)
def test_paths_and_methods(call, method, path, status):
    reply = call(path, method=method)

    assert reply.status == status
    if status == 405:
        assert reply.headers["allow"] == ("POST" if method == "GET" else "GET")
    if status != 200:
        assert reply.headers["content-type"] == "application/json"
        assert reply.json.keys() == ({"error"} if path.startswith("/v2/") else {"error_code", "message"})


def test_a_body_in_pieces_is_put_together(make_app, ask):
    reply = asyncio.run(ask(make_app(), "POST", "/invocations", [BODY[:9], BODY[9:50], BODY[50:]], JSON))

    assert reply.status == 200


def test_a_packed_body_counts_as_it_is_unpacked(make_app, ask):
    """With all other bodies of the connection's server; `reserved` is what has been counted of this one."""
    counted = []
    limits = Limits(1, 1.0, 1.0, max_bodies_bytes=300_000)
    config = SimpleNamespace(reserved_bytes=290_000, limits=limits, release=counted.append)
    connection = SimpleNamespace(
        config=config, make_way=lambda n_bytes: 0, loop=SimpleNamespace(time=time.time)
    )
    headers = JSON | {"Content-Encoding": "gzip"}

    async def answer():
        return await ask(
            make_app(), "POST", "/invocations", gzip.compress(LARGE), headers, connection=connection
        )

    reply = asyncio.run(answer())
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert not counted
    config.reserved_bytes = 0
    assert asyncio.run(answer()).status == 200
    [scope] = counted
    assert len(LARGE) <= scope["reserved"] == config.reserved_bytes


@pytest.mark.parametrize("declared", [len(BODY), None])
def test_a_body_over_the_limit_is_refused(make_app, ask, declared):
    app = make_app(max_body_bytes=len(BODY) - 1)
    headers = JSON | ({"Content-Length": str(declared)} if declared else {})

    reply = asyncio.run(ask(app, "POST", "/invocations", [BODY[:9], BODY[9:]], headers))

    assert reply.status == 413
    assert f"larger than {len(BODY) - 1} bytes" in reply.json["message"]
    assert reply.headers["connection"] == "close"


def test_a_body_at_the_limit_is_taken(make_app, ask):
    app = make_app(max_body_bytes=len(BODY))

    assert asyncio.run(ask(app, "POST", "/invocations", BODY, JSON)).status == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"dataframe_records": [ROW] * 3}, None),
        ({"inputs": [ROW] * 3}, None),
        ({"instances": [ROW] * 3}, None),
        ({"inputs": {name: [value] * 3 for name, value in ROW.items()}}, None),
        ({"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())] * 3}}, None),
        (b"age,income,job,owner,children\n" + b"40,2e4,nurse,true,1\n" * 3, "text/csv"),
    ],
)
def test_rows_over_the_limit_are_refused(make_app, ask, body, kind):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    for most, status in ((2, 413), (3, 200)):
        headers = {"Content-Type": kind or "application/json"}
        reply = asyncio.run(ask(make_app(max_rows=most), "POST", "/invocations", content, headers))

        assert reply.status == status, reply.body


TENSORS = [
    {"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]}
    for name, kind in zip(ROW, ("INT64", "FP64", "BYTES", "BOOL", "INT64"), strict=True)
]
ENTRIES = {"/invocations": BODY, "/v2/models/proto_model/infer": json.dumps({"inputs": TENSORS}).encode()}


@pytest.mark.parametrize("path", ENTRIES)
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("APPLICATION/JSON", 200),
        ("application/json;", 200),
        ("application/json; charset=utf-8", 200),
        ('application/json ; CHARSET="UTF-8"', 200),
        ("application/json; charset=utf8", 200),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=", 415),
        ("application/json; version=2", 415),
        ("application/jsonp", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
def test_every_entry_understands_the_same_content_types(make_app, ask, path, content_type, status):
    reply = asyncio.run(ask(make_app(), "POST", path, ENTRIES[path], {"Content-Type": content_type}))

    assert reply.status == status, reply.body


@pytest.mark.parametrize("path", ENTRIES)
@pytest.mark.parametrize(
    ("encoding", "encode", "status"),
    [
        ("gzip", gzip.compress, 200),
        ("GZIP", gzip.compress, 200),
        ("deflate", zlib.compress, 200),
        ("identity", bytes, 200),
        ("gzip", bytes, 400),
        ("gzip", lambda body: gzip.compress(body)[:-3], 400),
        ("gzip", lambda body: gzip.compress(body) + b"more", 400),
        ("gzip", lambda body: gzip.compress(body + b" " * 10_000_000), 413),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body)), 415),
        ("br", bytes, 415),
    ],
)
def test_every_entry_unpacks_bodies_up_to_the_limit(make_app, ask, path, encoding, encode, status):
    app = make_app(max_body_bytes=1_000_000)
    headers = JSON | {"Content-Encoding": encoding}
    reply = asyncio.run(ask(app, "POST", path, encode(ENTRIES[path]), headers))

    assert reply.status == status, reply.body
    assert reply.headers.get("accept-encoding") == ("gzip, deflate" if status == 415 else None)


@pytest.mark.parametrize("path", sorted(ENTRIES))
@pytest.mark.parametrize("part", [b"[],", b"{},", b"[NaN],", b'[{"a":1}],'])
def test_lists_and_objects_are_counted_before_they_take_memory(make_app, ask, path, part):
    app = make_app(max_rows=1000)
    body = gzip.compress(b'{"inputs": [' + part * 200_000 + b"1]}")

    reply = asyncio.run(ask(app, "POST", path, body, JSON | {"Content-Encoding": "gzip"}))

    assert reply.status == 413
    assert b"more than 102000 lists and objects" in reply.body


def test_an_error_from_a_thread_keeps_no_request_in_memory(make_app, ask):
    app = make_app()
    body = json.dumps({"inputs": [{**ROW, "age": "old"}] * 1000}).encode()
    assert len(body) > SMALL_BODY_BYTES

    gc.collect()
    gc.disable()  # which comes late where most objects are old
    try:
        reply = asyncio.run(ask(app, "POST", "/invocations", body, JSON))
        kept = [item for item in gc.get_objects() if isinstance(item, InputError) and item.__traceback__]
    finally:
        gc.enable()

    assert reply.status == 400
    assert not kept


@pytest.mark.parametrize(
    ("path", "status"),
    [("/ping", 200), ("/v2/health/ready", 200), ("/version", 503), ("/invocations", 503), ("/v2", 503)],
)
def test_health_is_told_even_when_too_many_connections_are_open(make_app, path, status):
    async def scenario():
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "fault": (503, "Too many.")}
        await make_app()(scope, None, send)
        return sent[0]

    assert asyncio.run(scenario())["status"] == status


def test_a_client_that_leaves_gets_no_answer(make_app):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        pytest.fail(f"{message} sent")

    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": []}
    asyncio.run(make_app()(scope, receive, send))


def test_slow_explanations_hold_up_neither_rows_nor_tables(make_app, ask, slow):
    async def scenario():
        app = make_app(ServedModel(slow), threads=2)
        explained = [asyncio.create_task(ask(app, "POST", "/invocations", EXPLAIN, JSON)) for _ in range(4)]
        for _ in range(2):
            assert await asyncio.to_thread(slow.begun.acquire, timeout=30)
        single = await ask(app, "POST", "/invocations", BODY, JSON)
        large = await ask(app, "POST", "/invocations", LARGE, JSON)
        assert not any(task.done() for task in explained)
        slow.go.set()
        return single, large, await asyncio.gather(*explained)

    single, large, explained = asyncio.run(scenario())

    assert single.status == large.status == 200
    assert len(large.json["predictions"]) == 1000
    assert [reply.json["predictions"][0]["explanation"] for reply in explained] == [{"rule": "none"}] * 4


def test_more_requests_than_may_wait_are_sent_away(make_app, ask, slow):
    async def scenario():
        app = make_app(ServedModel(slow), threads=1, max_waiting=1)
        begun = [asyncio.create_task(ask(app, "POST", "/invocations", EXPLAIN, JSON)) for _ in range(2)]
        assert await asyncio.to_thread(slow.begun.acquire, timeout=30)
        refused = await ask(app, "POST", "/invocations", EXPLAIN, JSON)
        page = (await ask(app, "GET", "/metrics")).body.decode()
        slow.go.set()
        finished = await asyncio.gather(*begun)
        return refused, page, finished, await ask(app, "POST", "/invocations", EXPLAIN, JSON)

    refused, page, finished, later = asyncio.run(scenario())

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.json["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert 'proto_model_jobs{kind="explanation"} 2\n' in page
    assert [reply.status for reply in (*finished, later)] == [200, 200, 200]


def test_an_answer_that_takes_too_long_is_given_up_and_its_thread_is_free_again(make_app, ask, slow):
    async def scenario():
        app = make_app(ServedModel(slow), threads=1, max_waiting=0, answer_timeout_s=0.1)
        late = await ask(app, "POST", "/invocations", EXPLAIN, JSON)
        slow.go.set()
        while (again := await ask(app, "POST", "/invocations", EXPLAIN, JSON)).status == 503:
            await asyncio.sleep(0.01)
        return late, again

    late, again = asyncio.run(scenario())

    assert late.status == 504
    assert "No answer within 0.1 s" in late.json["message"]
    assert again.status == 200


@pytest.mark.parametrize("path", ["/invocations", "/v2/models/proto_model/infer"])
def test_what_nobody_foresaw_stays_inside(make_app, ask, served, caplog, path):
    class BrokenPredictor(Predictor):
        def answer(self, matrix, parameters=None, go_on=None):
            raise RuntimeError("secret path")

    tensors = [
        {"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]}
        for name, kind in zip(ROW, ("INT64", "FP64", "BYTES", "BOOL", "INT64"), strict=True)
    ]
    body = BODY if path == "/invocations" else json.dumps({"inputs": tensors}).encode()
    with caplog.at_level(logging.ERROR):
        app = make_app(ServedModel(BrokenPredictor(served.predictor.bundle)))
        reply = asyncio.run(ask(app, "POST", path, body, JSON))

    assert reply.status == 500
    assert b"secret" not in reply.body
    assert "RuntimeError in" in caplog.text
    assert f'File "{__file__}"' in caplog.text  # where
    assert "secret" not in caplog.text.replace('raise RuntimeError("secret path")', "")  # a line of code


def test_metrics_count_routes_statuses_and_rows(make_app, ask):
    async def scenario():
        app = make_app()
        for body in (BODY, LARGE, b"{}"):
            await ask(app, "POST", "/invocations", body, JSON)
        await ask(app, "GET", "/nothing")
        return (await ask(app, "GET", "/metrics")), app

    reply, app = asyncio.run(scenario())

    page = reply.body.decode()
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'proto_model_requests_total{route="invocations",status="200"} 2',
        'proto_model_requests_total{route="invocations",status="400"} 1',
        'proto_model_requests_total{route="other",status="404"} 1',
        'proto_model_request_seconds_bucket{route="invocations",le="+Inf"} 3',
        'proto_model_request_seconds_count{route="invocations"} 3',
        "proto_model_rows_total 1001",
        f'schema_digest="{app.models.first.model.schema.digest}"',
    ):
        assert line in page
    sample = re.compile(r"[a-z_]+(\{([a-z_]+=\"[^\"]*\",?)+\})? [0-9.e+-]+")
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in page.splitlines())


def test_a_line_per_request_is_written_when_asked_for(make_app, ask, caplog):
    with caplog.at_level(logging.INFO):
        asyncio.run(ask(make_app(), "POST", "/invocations", BODY, JSON))
        assert caplog.text == ""
        asyncio.run(ask(make_app(access_log=True), "POST", "/invocations", BODY, JSON))

    assert re.search(
        r"route=invocations model_name=proto_model .* rows=1 status=200 duration_ms=", caplog.text
    )
    assert "nurse" not in caplog.text


MARK = "Zaphod4711"
BAD_ROWS = [
    {"age": MARK},
    {"income": MARK, "job": MARK, "owner": MARK},
    {MARK: MARK},
    {"owner": [MARK], "children": {MARK: MARK}},
    {"age": f"{MARK}\ud800"},
    {"age": 47110815.5, "children": 47110815.5},
]


def bad_bodies(row):
    """A body of each kind that holds the row; and some that are broken where it stands."""
    names = list(row)
    text = json.dumps(row)
    tensors = [
        {"name": name, "shape": [1], "datatype": "BYTES", "data": [str(value).replace("\ud800", "")]}
        for name, value in row.items()
    ]
    yield "/invocations", "application/json", json.dumps({"inputs": [row]}).encode()
    yield "/invocations", "application/json", json.dumps({"dataframe_records": [row] * 300}).encode()
    split = {"columns": names, "data": [list(row.values()), [MARK]]}
    yield "/invocations", "application/json", json.dumps({"dataframe_split": split}).encode()
    yield "/invocations", "application/json", f'{{"inputs": [{text}'.encode()
    yield "/invocations", "application/json", json.dumps({"inputs": MARK, "params": {MARK: MARK}}).encode()
    yield "/invocations", "application/json", json.dumps({"inputs": [ROW], "params": {"seed": MARK}}).encode()
    yield "/invocations", "application/json", json.dumps({MARK: row}).encode()
    yield "/invocations", f"text/{MARK}", text.encode()
    yield "/invocations", "text/csv", f"{','.join(names)}\n{MARK},{MARK},{MARK},{MARK}\n".encode()
    yield "/invocations", "text/csv", f"age,income,job\n{MARK},1,2\n".encode() + b"\xff"
    yield "/invocations", "application/vnd.apache.parquet", f"PAR1{MARK}".encode()
    yield "/v2/models/proto_model/infer", "application/json", json.dumps({"inputs": tensors}).encode()
    yield (
        "/v2/models/proto_model/infer",
        "application/json",
        json.dumps({"id": [MARK], "inputs": []}).encode(),
    )
    yield f"/{MARK}%0aforged line", "application/json", text.encode()
    yield f"/v2/models/{MARK}/infer", "application/json", text.encode()


@pytest.mark.parametrize("row", BAD_ROWS, ids=str)
def test_the_log_holds_nothing_that_a_request_held(make_app, ask, caplog, capfd, row):
    app = make_app(access_log=True)
    with caplog.at_level(logging.DEBUG):
        replies = [
            asyncio.run(ask(app, "POST", path, body, {"Content-Type": content_type}))
            for path, content_type, body in bad_bodies(row)
        ]

    assert all(400 <= reply.status < 500 for reply in replies), [reply.status for reply in replies]
    assert caplog.text.count("route=") == len(replies)
    for text in (caplog.text, *capfd.readouterr()):
        assert MARK not in text
        assert "47110815" not in text
        assert "forged" not in text


def test_an_error_shows_so_much_of_a_value_and_no_more(call):
    """40 characters; docs/serving.md says so."""
    long = "Zaphod" * 100
    for row in ({**ROW, "age": long}, {**ROW, "age": [long]}, {**ROW, "age": {long: long}}):
        reply = call("/invocations", {"inputs": [row]})

        assert reply.status == 400
        assert reply.json["message"].count("Zaphod") <= 7


def test_every_status_that_is_given_is_counted():
    given = {200, 500, *REFUSED, *(status for status, _ in STATUS.values())}

    assert given == set(STATUSES)
