"""The service in a process of its own, over a real port, in front of a model server that may misbehave."""

import concurrent.futures
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest
from referencing import Registry, Resource

from tests.crowd import Crowd

pytestmark = pytest.mark.system

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
REGISTRY = Registry().with_resources(
    (path.name, Resource.from_contents(json.loads(path.read_text()))) for path in SCHEMAS.glob("*.json")
)


def check(name, content):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator(schema, registry=REGISTRY).validate(content)


def expect_problem(answer, status, kind):
    """Assert that an answer is a problem of that kind; give it."""
    given, problem, headers = answer
    assert (given, problem["type"]) == (status, f"/docs#{kind}"), problem
    assert problem["status"] == status
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Request-ID"] == problem["request_id"]
    assert "Traceback" not in json.dumps(problem)
    check("problem", problem)
    return problem


def test_a_prediction_comes_back_in_the_mappers_words(service, record):
    request = {"data": [record, {**record, "mass": 9.0}], "session": {"user": 5}}
    check("mapper-request", request)

    status, answer, _ = service.call("/v1/predict", request)

    assert status == 200
    check("mapper-response", answer)
    assert (
        answer["predictions"]
        == [{"prediction": "Gentoo", "probability": 0.75, "probabilities": {"Adelie": 0.25, "Gentoo": 0.75}}]
        * 2
    )
    assert [(w["row"], w["field"]) for w in answer["warnings"]] == [(1, "mass")]
    assert answer["session"] == {"user": 5}
    assert answer["model"] == {"name": "penguins", "version": None}


def test_an_explanation_comes_with_the_prediction(service, model_server, record):
    request = {"data": record, "parameters": {"effort": "thorough"}}
    check("mapper-request", request)

    status, answer, _ = service.call("/v1/explain", request)

    assert status == 200
    check("mapper-response", answer)
    assert answer["predictions"][0]["explanation"]["rule"]["text"] == "mass > 4.1"
    assert model_server.requests[-1]["params"] == {"effort": "thorough", "explain": True}


def test_a_file_job_gives_its_summary_under_the_clients_id(service):
    request = {
        "file": {"input_url": "https://s3/a?s=1", "output_url": "https://s3/b?s=2", "file_id": "march"}
    }
    check("mapper-request", request)

    status, answer, _ = service.call("/v1/predict", request)

    assert status == 200
    check("mapper-response", answer)
    assert answer["file"] == {"file_id": "march", "status": "done", "rows": 3}


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"data": \xed\xa0\x80}', b"[" * 5000, b"nope"])
def test_a_body_that_is_not_json_is_400(service, body):
    expect_problem(service.call("/v1/predict", body), 400, "not-json")


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_decompressed(service, record, encode):
    headers = {"Content-Encoding": "gzip" if encode is gzip.compress else "deflate"}

    assert service.call("/v1/predict", encode(json.dumps({"data": record}).encode()), headers)[0] == 200
    bomb = encode(b'{"data": [' + b" " * 50_000_000 + b"]}")
    expect_problem(service.call("/v1/predict", bomb, headers), 413, "too-large")


@pytest.mark.parametrize("part", [b"[],", b"{},", b"[NaN],", b'[{"a":1}],'])
def test_lists_and_objects_are_counted_before_they_take_memory(service, part):
    body = gzip.compress(b'{"data": [' + part * 150_000 + b"1]}")

    problem = expect_problem(
        service.call("/v1/predict", body, {"Content-Encoding": "gzip"}), 413, "too-large"
    )

    assert problem["detail"] == "The body has more than 110000 lists and objects. Send fewer rows at a time."


@pytest.mark.parametrize(
    "body", [b"\x1f\x8bnot", gzip.compress(b'{"data": 1}')[:-3], gzip.compress(b"{}") + b"more"]
)
def test_a_damaged_encoding_is_400(service, body):
    answer = service.call("/v1/predict", body, {"Content-Encoding": "gzip"})

    assert "Content-Encoding" in expect_problem(answer, 400, "not-json")["detail"]


@pytest.mark.parametrize("encoding", ["zstd", "br", "gzip, gzip"])
def test_other_encodings_are_415_and_say_which_are_taken(service, record, encoding):
    answer = service.call("/v1/predict", {"data": record}, {"Content-Encoding": encoding})

    assert encoding in expect_problem(answer, 415, "wrong-encoding")["detail"]
    assert answer[2]["Accept-Encoding"] == "gzip, deflate"


def wire(service, *parts):
    """Status, problem and headers for bytes as they are."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        for part in parts:
            client.sendall(part)
        response = http.client.HTTPResponse(client)
        response.begin()
        with response:
            return response.status, json.loads(response.read()), response.headers


@pytest.mark.parametrize(
    ("request_line", "header", "status", "kind"),
    [
        (b"nonsense", b"Host: localhost", 400, "not-http"),
        (b"GET / HTTP/1.1", b"no colon", 400, "not-http"),
        (b"GET / HTTP/1.1", b"Cookie: " + b"x" * 100_000, 431, "head-too-large"),
        (b"POST /v1/predict HTTP/1.1", b"Content-Length: 99999999", 413, "too-large"),
    ],
)
def test_what_is_not_http_is_a_problem_too(service, request_line, header, status, kind):
    answer = wire(service, request_line + b"\r\nX-Request-ID: raw\r\n" + header + b"\r\n\r\n")

    problem = expect_problem(answer, status, kind)
    assert len(problem["detail"]) > 20
    assert answer[2]["Connection"] == "close"
    assert f"id={problem['request_id']} route=" in service.log.read_text()


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"", b"", 200),
        (b"localhost", b"127.0.0.1:1234", 200),
        (b"application/json", b'APPLICATION/Json; Charset="UTF-8"', 200),
        (b"localhost", b"evil.example", 421),
        (b"HTTP/1.1", b"HTTP/0.9", 505),
        (b"HTTP/1.1", b"HTTP/2.0", 505),
        (b"HTTP/1.1", b"RTSP/1.0", 400),
        (b"application/json", b"text/plain", 415),
        (b"application/json", b"application/json; charset=utf-16", 415),
        (b"Content-Type: application/json\r\n", b"", 415),
        (b"Content-Type", b"Transfer-Encoding: gzip, chunked\r\nContent-Type", 400),
        (b"Content-Type", b"Content-Type: application/json\r\nContent-Type", 200),
        (b"Content-Type", b"Content-Type: text/plain\r\nContent-Type", 400),
        (b"application/json", b"application/json\r\nContent-Type: text/plain", 400),
    ],
)
def test_a_half_closed_request_gets_its_answer_whatever_its_head_says(service, record, old, new, status):
    body = json.dumps({"data": record}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        client.sendall(head.replace(old, new) + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    if status != 200:
        check("problem", json.loads(answer.partition(b"\r\n\r\n")[2]))


def test_the_hosts_of_a_service_on_all_addresses_can_be_set(start_service, schema_path):
    flags = ("--schema", str(schema_path), "--host", "0.0.0.0")
    hosts = ("10.1.2.3:8080", "mapper:8080", "mapper.example", "evil.example")
    for names, statuses in (("", [200, 200, 421, 421]), ("mapper.example", [200, 421, 200, 421])):
        with start_service(*flags, MAPPER_ALLOWED_HOSTS=names) as service:
            given = [service.call("/healthz", headers={"Host": host})[0] for host in hosts]
            assert given == statuses
            assert ("Listening on all addresses" in service.log.read_text()) == (not names)


def test_a_session_too_deep_to_send_back_is_422(service, record):
    session = json.loads("[" * 400 + "]" * 400)

    answer = service.call("/v1/predict", json.dumps({"data": record, "session": session}).encode())
    expect_problem(answer, 422, "invalid-request")


def test_an_empty_body_is_400(service):
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=5)
    connection.request("POST", "/v1/predict", b"", {"Content-Type": "application/json"})
    response = connection.getresponse()

    assert response.status == 400
    assert "empty" in json.loads(response.read())["detail"]
    connection.close()


def test_nan_in_a_body_is_a_fault_of_its_field(service):
    body = b'{"data": {"mass": NaN, "ringed": 2, "eggs": -Infinity}}'

    problem = expect_problem(service.call("/v1/predict", body), 422, "invalid-request")

    assert [(e["field"], e["kind"]) for e in problem["errors"]] == [
        ("mass", "null_value"),
        ("eggs", "not_finite"),
        ("ringed", "wrong_type"),
    ]


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_whole_number_of_hundreds_of_digits_is_a_fault_of_its_field(service, digits):
    body = b'{"data": {"mass": 4, "ringed": true, "eggs": -%b, "island": %b}}' % (
        b"1" * digits,
        b"1" * digits,
    )

    problem = expect_problem(service.call("/v1/predict", body), 422, "invalid-request")

    assert [(e["field"], e["kind"]) for e in problem["errors"]] == [
        ("eggs", "too_large"),
        ("island", "wrong_type"),
    ]
    assert "too large" in problem["errors"][0]["message"]


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"data"'])
def test_json_that_is_no_object_is_a_fault(service, body):
    problem = expect_problem(service.call("/v1/predict", body), 422, "invalid-request")

    assert problem["error_count"] == 1
    assert "an object expected" in problem["errors"][0]["message"]


def test_nan_outside_of_the_data_is_not_json(service, record):
    body = json.dumps({"data": record, "session": float("nan")}).encode()

    expect_problem(service.call("/v1/predict", body), 400, "not-json")


def test_too_large_bodies_and_too_many_rows_are_413(service, record):
    body = b'{"data": [' + b" " * 2_000_000 + b"]}"

    expect_problem(service.call("/v1/predict", body), 413, "too-large")
    expect_problem(service.call("/v1/predict", {"data": [record] * 5001}), 413, "too-large")


@pytest.mark.parametrize(
    "content_type",
    ["text/csv", "application/json; charset=latin-1", "application/json; version=2", "application/xml"],
)
def test_other_content_types_are_415(service, record, content_type):
    answer = service.call("/v1/predict", {"data": record}, {"Content-Type": content_type})

    expect_problem(answer, 415, "wrong-media-type")


def test_unknown_paths_and_methods_are_problems_too(service):
    expect_problem(service.call("/v2/predict", {}), 404, "not-found")
    _, problem, headers = answer = service.call("/v1/predict")
    expect_problem(answer, 405, "method-not-allowed")
    assert headers["Allow"] == "POST"
    assert problem["detail"].startswith("GET given for /v1/predict")


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        b"[]",
        b'{"predictions": [{"prediction": "Gentoo", "probability": NaN}]}',
        {"predictions": "none"},
        {"predictions": []},
        {"predictions": [5]},
        {"predictions": [{"prediction": "Gentoo", "probability": 0.75}]},
        {
            "predictions": [
                {"prediction": "Emu", "probability": 1, "probability_Adelie": 0, "probability_Gentoo": 1}
            ]
        },
        {
            "predictions": [
                {"prediction": [], "probability": 1, "probability_Adelie": 0, "probability_Gentoo": 1}
            ]
        },
        {
            "predictions": [
                {
                    "prediction": "Gentoo",
                    "probability": "high",
                    "probability_Adelie": 0,
                    "probability_Gentoo": 1,
                }
            ]
        },
        {
            "predictions": [
                {"prediction": "Gentoo", "probability": 1, "probability_Adelie": -1, "probability_Gentoo": 1}
            ]
        },
    ],
)
def test_a_wrong_answer_of_the_model_server_is_502(service, model_server, record, answer):
    model_server.answer = answer

    expect_problem(service.call("/v1/predict", {"data": record}), 502, "wrong-answer")


def test_what_the_model_refuses_is_422_without_the_data_and_without_queries(service, model_server, record):
    model_server.status = 400
    model_server.answer = {
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": "Failed to predict data '   mass\n0  4.2'. \nError: mass of https://s3/a?secret=1 is odd",
    }

    problem = expect_problem(service.call("/v1/predict", {"data": record}), 422, "refused-by-model")

    assert problem["detail"] == "The model refused the request: mass of https://s3/a?... is odd"


@pytest.mark.parametrize(
    ("status", "answer", "expected", "kind"),
    [
        (400, {"error_code": "BAD_REQUEST", "message": "x", "stack_trace": "Traceback"}, 502, "wrong-answer"),
        (500, {"message": "broken"}, 502, "wrong-answer"),
        (404, b"nothing here", 502, "wrong-answer"),
        (503, b"later", 503, "model-server-away"),
        (504, b"slow", 504, "model-server-timeout"),
    ],
)
def test_other_statuses_of_the_model_server(service, model_server, record, status, answer, expected, kind):
    model_server.status, model_server.answer = status, answer
    model_server.answer_headers = {"Retry-After": "17"}

    answered = service.call("/v1/predict", {"data": record})

    expect_problem(answered, expected, kind)
    assert answered[2]["Retry-After"] == ("17" if expected == 503 else None)


def test_a_reset_before_the_answer_is_tried_again(service, model_server, record):
    model_server.resets = 2

    status, _, _ = service.call("/v1/predict", {"data": record})

    assert status == 200
    assert len(model_server.requests) == 3


def test_a_reset_that_does_not_end_is_503(service, model_server, record):
    model_server.resets = 100

    answered = service.call("/v1/predict", {"data": record})

    expect_problem(answered, 503, "model-server-away")
    assert int(answered[2]["Retry-After"]) >= 1
    assert len(model_server.requests) == 3


def test_a_file_job_is_never_sent_twice(service, model_server):
    model_server.resets = 1
    file = {"input_url": "https://s3/a?secret=1", "output_url": "https://s3/b?secret=1"}

    problem = expect_problem(service.call("/v1/predict", {"file": file}), 503, "model-server-away")

    assert len(model_server.requests) == 1
    assert "secret" not in json.dumps(problem)
    assert "secret" not in service.log.read_text()


def test_an_answer_that_breaks_off_is_502(service, model_server, record):
    model_server.cut = True

    expect_problem(service.call("/v1/predict", {"data": record}), 502, "wrong-answer")


def test_a_chunked_answer_is_put_together(service, model_server, record):
    model_server.chunked = True

    status, answer, _ = service.call("/v1/predict", {"data": record})

    assert (status, len(answer["predictions"])) == (200, 1)


def test_too_slow_an_answer_is_504_and_holds_nobody_up(service, model_server, record):
    model_server.delay_s = 1.5
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(service.call, "/v1/predict", {"data": record})
        while not model_server.requests:
            time.sleep(0.01)
        model_server.delay_s = 0
        started = time.monotonic()
        assert service.call("/v1/predict", {"data": record})[0] == 200

        assert time.monotonic() - started < 0.9
        expect_problem(slow.result(), 504, "model-server-timeout")


def test_big_requests_keep_order_and_count(service, model_server, record):
    records = [{**record, "mass": 3 + i / 5000} for i in range(5000)]

    status, answer, _ = service.call("/v1/predict", {"data": records})

    assert (status, len(answer["predictions"])) == (200, 5000)
    assert model_server.requests[-1]["inputs"]["mass"] == [r["mass"] for r in records]


def test_connections_are_kept_and_the_request_id_goes_all_the_way(service, model_server, record):
    for _ in range(5):
        _, _, headers = service.call("/v1/predict", {"data": record}, {"X-Request-ID": "trace-1"})
        assert headers["X-Request-ID"] == "trace-1"

    assert model_server.connections <= 1
    assert model_server.headers[-1]["X-Request-ID"] == "trace-1"
    line = next(line for line in service.log.read_text().splitlines() if "id=trace-1" in line)
    for part in ("model=penguins", "version=-", "duration_ms=", "status=200", "outcome=ok"):
        assert part in line
    assert "4.2" not in line.replace(line[:24], "").partition("duration_ms")[0]


def test_a_request_id_that_could_forge_log_lines_is_replaced(service, record):
    _, _, headers = service.call("/v1/predict", {"data": record}, {"X-Request-ID": "a b=c"})

    assert headers["X-Request-ID"] != "a b=c"


def readiness(service, status):
    """Answer of /readyz once it has this status: the one before is remembered for a while."""
    end = time.monotonic() + 10
    while (answered := service.call("/readyz"))[0] != status and time.monotonic() < end:
        time.sleep(0.05)
    return answered


def test_readiness_asks_the_model(service, model_server):
    model_server.answer = {"predictions": [{"prediction": "Emu", "probability": 1}]}
    answered = readiness(service, 503)
    problem = expect_problem(answered, 503, "model-server-away")
    assert "the schema has no class 'Emu'" in problem["detail"]
    model_server.reset()

    assert readiness(service, 200)[0] == 200
    assert model_server.requests == [
        {"inputs": {"mass": [4.0], "eggs": [1], "ringed": [False], "island": ["Biscoe"]}}
    ]
    assert service.call("/healthz")[1] == {"status": "alive"}


def test_metrics_count_requests_faults_and_rows(service, record):
    service.call("/v1/predict", {"data": [record] * 3})
    service.call("/v1/predict", {"data": {**record, "mass": "x"}})

    text = service.call("/metrics")[1]

    assert 'mapper_requests_total{outcome="ok",route="/v1/predict",status="200"}' in text
    assert 'mapper_faults_total{kind="wrong_type"}' in text
    assert 'mapper_model_server_duration_seconds_count{kind="predict"}' in text
    assert "mapper_requests_in_flight 1.0" in text
    assert "mapper_rows_total" in text


def test_pages_need_nothing_from_elsewhere(service):
    for path in ("/", "/docs", "/page/app.js", "/page/answer.js", "/page/words.js", "/page/style.css"):
        status, text, headers = service.call(path)
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "https://" not in text.replace("https://…", "")
    assert "penguins" in service.call("/docs")[1]
    assert service.call("/v1/schema")[1]["model_name"] == "penguins"
    assert service.call("/openapi.json")[1]["openapi"] == "3.1.0"


def test_sigterm_ends_what_was_begun_and_then_the_process(start_service, model_server, schema_path, record):
    model_server.delay_s = 0.6
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    with start_service(*flags) as service, concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(service.call, "/v1/predict", {"data": record})
        while not model_server.requests:
            time.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)

        assert running.result()[0] == 200
        assert service.process.wait(10) == 0
        assert service.log.read_text().rstrip().endswith("stopped")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_loses_no_request(start_service, model_server, schema_path, record, workers):
    body = json.dumps({"data": record}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path), "--workers", workers)
    with start_service(*flags) as service:
        port = urlsplit(service.url).port
        crowd = Crowd(port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        crowd.outlast(service.process.terminate)

        assert service.process.wait(30) == 0
    assert crowd.lost == []
    assert set(crowd.statuses) == {200}


def test_requests_wait_for_the_model_server_before_any_is_refused(
    start_service, model_server, schema_path, record
):
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    with start_service(*flags, "--max-concurrent", "2", "--max-waiting", "2") as service:
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: service.call("/v1/predict", {"data": record}), range(60)))

    assert {answer[0] for answer in answers} == {200}


def test_a_queue_that_stays_full_is_503_and_other_requests_go_on(
    start_service, model_server, schema_path, record
):
    model_server.may_answer.clear()
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    with start_service(*flags, "--max-concurrent", "1", "--max-waiting", "1") as service:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(service.call, "/v1/predict", {"data": record}) for _ in range(4)]
            while sum(one.done() for one in asked) < 2:
                assert service.call("/v1/schema")[0] == 200
            refused = [one.result() for one in asked if one.done()]
            model_server.may_answer.set()
            assert sorted(one.result()[0] for one in asked) == [200, 200, 503, 503]

        for busy in refused:
            expect_problem(busy, 503, "busy")
            assert busy[2]["Retry-After"] == "1"


def test_large_bodies_share_a_limit_and_small_ones_go_on(start_service, model_server, schema_path, record):
    large = json.dumps({"data": [record] * 3000}).encode()
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    with start_service(*flags, "--max-bodies-bytes", "300000") as service:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            model_server.may_answer.clear()
            answers = [pool.submit(service.call, "/v1/predict", large)]
            while "mapper_rows_total 3000.0" not in service.call("/metrics")[1]:
                pass
            answers.append(pool.submit(service.call, "/v1/predict", {"data": record}))
            packed = service.call("/v1/predict", gzip.compress(large), {"Content-Encoding": "gzip"})
            for refused in (service.call("/v1/predict", large), packed):
                problem = expect_problem(refused, 503, "busy")
                assert problem["detail"] == "Too many large bodies at once. Send it again a little later."
                assert refused[2]["Retry-After"] == "1"
            model_server.may_answer.set()
            assert [answer.result()[0] for answer in answers] == [200, 200]
        assert service.call("/v1/predict", large)[0] == 200


def test_workers_share_the_port_and_count_together(start_service, model_server, schema_path, record):
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    with start_service(*flags, "--workers", "2") as service:
        for _ in range(6):
            assert service.call("/v1/predict", {"data": record})[0] == 200

        assert "mapper_rows_total 6.0" in service.call("/metrics")[1]
        service.process.terminate()
        assert service.process.wait(10) == 0


def test_what_a_killed_worker_was_doing_is_not_counted_for_ever(
    start_service, model_server, schema_path, record, tmp_path
):
    model_server.may_answer.clear()
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path), "--workers", "2")
    with start_service(*flags, TMPDIR=str(tmp_path)) as service:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asked = pool.submit(service.call, "/v1/predict", {"data": record})
            while not model_server.requests:
                time.sleep(0.01)
            while service.log.read_text().count("listening on") < 2:
                time.sleep(0.01)
            while len(counted := list(tmp_path.glob("mapper-metrics-*/gauge_livesum_*.db"))) < 2:
                time.sleep(0.01)
            for path in counted:
                os.kill(int(path.stem.rpartition("_")[2]), signal.SIGKILL)
            assert isinstance(asked.exception(20), OSError | http.client.HTTPException)
        model_server.may_answer.set()
        while service.log.read_text().count("listening on") < 4:
            time.sleep(0.05)

        assert "mapper_requests_in_flight 1.0" in service.call("/metrics")[1]


def is_refused(url):
    """Whether nobody listens there any more, sooner or later."""
    address = urlsplit(url)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection((address.hostname, address.port), timeout=5).close()
        except ConnectionError:
            return True
        time.sleep(0.05)
    return False


def test_workers_end_when_their_supervisor_is_killed(start_service, schema_path):
    with start_service("--schema", str(schema_path), "--workers", "2") as service:
        service.process.kill()
        service.process.wait(20)

        assert is_refused(service.url)


def test_a_client_that_gave_up_while_waiting_is_not_asked_for(
    start_service, model_server, schema_path, record
):
    model_server.may_answer.clear()
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    with start_service(*flags, "--max-concurrent", "1") as service:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            first = pool.submit(service.call, "/v1/predict", {"data": record})
            while not model_server.requests:
                time.sleep(0.01)
            address = urlsplit(service.url)
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
            body = json.dumps({"data": record})
            connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
            while "mapper_requests_in_flight 3.0" not in service.call("/metrics")[1]:
                time.sleep(0.01)
            connection.close()
            service.call("/healthz")  # by now it has been noticed
            model_server.may_answer.set()
            assert first.result()[0] == 200
            while "mapper_requests_in_flight 1.0" not in service.call("/metrics")[1]:
                time.sleep(0.01)

        assert len(model_server.requests) == 1
        assert "status=499 outcome=cancelled" in service.log.read_text()


def test_settings_in_force_are_logged_without_secrets(start_service, model_server, schema_path):
    url = model_server.url.replace("//", "//me:secret@")
    flags = ("--schema", str(schema_path), "--max-rows", "9")
    with start_service(
        *flags, MAPPER_MODEL_SERVER_URL=url, MAPPER_MAX_ROWS="5", MAPPER_TIMEOUT="3"
    ) as service:
        assert service.call("/readyz")[0] == 200
        log = service.log.read_text()

    assert "max_rows=9" in log
    assert "MAPPER_TIMEOUT is not a setting" in log
    assert "secret" not in log
    assert model_server.headers[-1]["Authorization"].startswith("Basic ")


def test_a_slow_client_gets_408(start_service, model_server, schema_path):
    flags = ("--schema", str(schema_path), "--body-timeout-s", "0.2")
    with start_service(*flags) as service:
        address = urlsplit(service.url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as client:
            client.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 9\r\n\r\n{"
            )
            assert client.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_request_that_offers_another_protocol_keeps_its_body(service, record):
    body = json.dumps({"data": record}).encode()
    head = b"POST /v1/predict HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    head += b"HTTP2-Settings: AAMAAABk\r\nContent-Type: application/json\r\n"

    status, answer, _ = wire(service, head + b"Content-Length: %d\r\n\r\n" % len(body), body)

    assert (status, len(answer["predictions"])) == (200, 1)


def test_health_is_told_when_too_many_connections_are_at_work(
    start_service, model_server, schema_path, record
):
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path), "--max-connections", "2")
    with start_service(*flags) as service:
        assert service.call("/readyz")[0] == 200
        model_server.requests.clear()
        model_server.may_answer.clear()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            busy = [pool.submit(service.call, "/v1/predict", {"data": record}) for _ in range(2)]
            while len(model_server.requests) < 2:
                time.sleep(0.01)
            expect_problem(service.call("/v1/predict", {"data": record}), 503, "busy")
            assert service.call("/healthz")[1] == {"status": "alive"}
            ready = pool.submit(service.call, "/readyz")
            while not ready.done() and len(model_server.requests) < 3:
                time.sleep(0.01)
            model_server.may_answer.set()
            assert ready.result()[0] == 200
            assert [asked.result()[0] for asked in busy] == [200, 200]


def test_what_takes_too_long_to_finish_at_the_end_gets_503(start_service, model_server, schema_path, record):
    model_server.may_answer.clear()
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path), "--drain-s", "0.5")
    with start_service(*flags) as service, concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(service.call, "/v1/predict", {"data": record})
        while not model_server.requests:
            time.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)
        problem = expect_problem(asked.result(), 503, "busy")
        assert problem["detail"] == "The mapper is stopping. Send the request again."
        assert service.process.wait(20) == 0
        assert "Traceback" not in service.log.read_text()
    model_server.may_answer.set()


def test_an_address_in_use_is_told_in_one_sentence(schema_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "mapper", "serve", "--schema", str(schema_path), "--port", str(port)],
            env=os.environ | {"PYTHONPATH": str(SCHEMAS.parent)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode != 0
    assert (
        f"Cannot listen on 127.0.0.1:{port}: the address is in use. Choose another port with --port"
        in done.stderr
    )


def test_a_model_that_takes_files_says_so(start_service, model_server, schema_path, record):
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path), "--signature", "file")
    with start_service(*flags) as service:
        problem = expect_problem(service.call("/v1/predict", {"data": record}), 422, "invalid-request")
        assert problem["errors"][0]["field"] == "data"
        assert service.call("/readyz")[0] == 200
    assert model_server.requests == []


MARK = "Zaphod4711"
WRONG_ANSWERS = [
    (200, {"predictions": [{"prediction": MARK}]}),
    (200, {"predictions": [MARK]}),
    (200, {"predictions": [{"prediction": "Gentoo", "probability": MARK}]}),
    (
        200,
        {
            "predictions": [
                {
                    "prediction": "Gentoo",
                    "probability": 0.1,
                    "probability_Adelie": 0.25,
                    "probability_Gentoo": 0.75,
                }
            ]
        },
    ),
    (200, {MARK: MARK}),
    (200, MARK.encode()),
    (500, {"message": f"row 0, column 'mass': {MARK} given"}),
    (400, {"message": MARK, "stack_trace": MARK}),
    (503, {"error": MARK}),
    (504, {"detail": MARK}),
]


@pytest.mark.parametrize(("status", "answer"), WRONG_ANSWERS, ids=str)
def test_a_wrong_answer_is_told_to_the_client_and_its_content_to_no_log(
    service, model_server, record, status, answer
):
    model_server.status, model_server.answer = status, answer
    begin = len(service.log.read_text())

    given, problem, _ = service.call("/v1/predict", {"data": {**record, "island": MARK}})

    assert given in (502, 503, 504), problem
    log = service.log.read_text()[begin:]
    assert f"status={given}" in log
    assert MARK not in log


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/explain", f"/{MARK}"])
def test_the_log_holds_nothing_that_a_wrong_request_held(service, record, path):
    bodies = [
        {"data": {**record, "mass": MARK, "eggs": MARK, "ringed": MARK, "island": [MARK]}},
        {"data": {**record, "mass": MARK, MARK: MARK}},
        {"data": {"columns": [MARK], "rows": [[MARK]]}},
        {"data": MARK},
        {MARK: MARK},
        {"data": record, "parameters": {"seed": MARK, MARK: 1}},
        {"file": {"input_url": f"https://h/k?{MARK}", "output_url": MARK, MARK: 1}},
        f'{{"data": {{"mass": "{MARK}'.encode(),
    ]
    begin = len(service.log.read_text())

    for body in bodies:
        status, _, _ = service.call(path, body, {"X-Request-ID": "bad id " + MARK})
        assert 400 <= status < 500
    assert service.log.read_text()[begin:].count("status=4") == len(bodies)

    service.call(path, {"data": {**record, MARK: MARK}})  # no feature: taken, with a warning

    assert MARK not in service.log.read_text()[begin:]


def test_an_unforeseen_error_is_logged_with_its_place_and_without_its_text():
    from mapper.http.service import _origin_of

    try:
        int(MARK)
    except ValueError as error:
        kind, where = _origin_of(error)

    assert kind == "ValueError"
    assert "test_service.py" in where
    assert MARK not in where
