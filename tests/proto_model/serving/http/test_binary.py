"""Raw bytes behind the JSON of V2: by the byte, by the published client, and with sizes that are wrong."""

import asyncio
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.serving.http.binary import NUMPY, filled, packed, split

PATH = "/v2/models/proto_model/infer"
# Two rows, column by column, as a client of Triton packs them.
JOBS = [b"nurse", b"clerk"]
RAW = {
    "age": ("INT64", struct.pack("<2q", 40, 51)),
    "income": ("FP64", struct.pack("<2d", 2e4, 3.5e4)),
    "job": ("BYTES", b"".join(struct.pack("<I", len(job)) + job for job in JOBS)),
    "owner": ("BOOL", b"\x01\x00"),
    "children": ("INT64", struct.pack("<2q", 1, 0)),
}


def message(inputs, **more):
    """Body of inputs by name, and the length of its JSON."""
    head = {
        "inputs": [
            {"name": name, "shape": [2, 1], "datatype": kind, "parameters": {"binary_data_size": len(raw)}}
            for name, (kind, raw) in inputs.items()
        ],
        **more,
    }
    text = json.dumps(head).encode()
    return text + b"".join(raw for _, raw in inputs.values()), len(text)


@pytest.fixture
def infer(make_app, ask):
    app = make_app()

    def infer(body, length, content_type="application/octet-stream"):
        headers = {"Inference-Header-Content-Length": str(length)}
        if content_type:
            headers["Content-Type"] = content_type
        return asyncio.run(ask(app, "POST", PATH, body, headers))

    return infer


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json", ""])
def test_raw_tensors_get_the_answer_of_json(infer, call, content_type):
    values = {"age": [40, 51], "income": [2e4, 3.5e4], "job": ["nurse", "clerk"], "owner": [True, False],
              "children": [1, 0]}  # fmt: skip
    inputs = [
        {"name": name, "shape": [2, 1], "datatype": RAW[name][0], "data": data}
        for name, data in values.items()
    ]
    expected = call(PATH, {"inputs": inputs})

    reply = infer(*message(RAW), content_type)

    assert reply.status == expected.status == 200, reply.body
    assert reply.body == expected.body


def test_outputs_come_as_raw_bytes_when_they_are_asked_for(infer):
    usual = infer(*message(RAW)).json["outputs"]
    reply = infer(*message(RAW, parameters={"binary_data_output": True}))

    assert reply.headers["content-type"] == "application/octet-stream"
    length = int(reply.headers["inference-header-content-length"])
    head, raw = json.loads(reply.body[:length]), reply.body[length:]
    for output, known in zip(head["outputs"], usual, strict=True):
        size = output["parameters"]["binary_data_size"]
        part, raw = raw[:size], raw[size:]
        assert part == packed(known["datatype"], known["data"])
        assert "data" not in output
    assert raw == b""


def test_one_output_may_be_raw_and_the_others_not(infer):
    outputs = [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "prediction"}]
    reply = infer(*message(RAW, outputs=outputs))

    length = int(reply.headers["inference-header-content-length"])
    first, second = json.loads(reply.body[:length])["outputs"]
    numbers = np.frombuffer(reply.body[length:], "<f8")
    assert first["parameters"] == {"binary_data_size": 16}
    assert len(numbers) == 2
    assert ((numbers >= 0.5) & (numbers <= 1)).all()
    assert second["data"]


def changed(name, kind=None, raw=None):
    return {**RAW, name: (kind or RAW[name][0], RAW[name][1] if raw is None else raw)}


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (message(RAW)[0], -1),
        (message(RAW)[0], "1e3"),
        (message(RAW)[0], 10**30),
        (message(RAW)[0], 0),
        (message(RAW)[0], len(message(RAW)[0]) + 1),
        (message(RAW)[0], message(RAW)[1] - 1),
        (message(RAW)[0] + b"x", message(RAW)[1]),
        (message(RAW)[0][:-1], message(RAW)[1]),
        message(changed("income", raw=b"")),
        message(changed("income", raw=bytes(17))),
        message(changed("income", "FP128")),
        message(changed("owner", raw=b"\x02\x00")),
        message(changed("job", raw=b"\xff\xff\xff\xffab")),
        message(changed("job", raw=b"\x01\x00\x00")),
        message(changed("job", raw=bytes(4))),
        message(changed("job", raw=bytes(12))),
        message(changed("job", raw=b"\x02\x00\x00\x00\xff\xff" * 2)),
    ],
)
def test_wrong_sizes_are_400(infer, body, length):
    reply = infer(body, length)

    assert reply.status == 400, reply.body
    assert reply.json["error"]


@pytest.mark.parametrize("size", [-1, True, "16", 1.0, 2**70, [16]])
def test_a_size_is_a_number_of_bytes_that_are_there(size):
    tensor = {"name": "income", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": size}}

    with pytest.raises(InputError, match="binary_data_size"):
        filled([tensor], memoryview(bytes(16)), 10)


def test_data_comes_in_one_of_the_two_ways():
    tensor = {
        "name": "a",
        "shape": [0],
        "datatype": "FP64",
        "data": [],
        "parameters": {"binary_data_size": 0},
    }

    with pytest.raises(InputError, match="Send one of them"):
        filled([tensor], memoryview(b""), 10)


@given(st.sampled_from(sorted(NUMPY)), st.data())
def test_numbers_survive_the_trip(datatype, data):
    dtype = np.dtype(NUMPY[datatype])
    raw = data.draw(
        st.binary(max_size=64).map(lambda raw: raw[: len(raw) // dtype.itemsize * dtype.itemsize])
    )
    if datatype == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    shape = [len(raw) // dtype.itemsize]
    tensor = {"name": "a", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}

    (read,) = filled([tensor], memoryview(raw), 100)

    np.testing.assert_array_equal(np.asarray(read["data"], dtype), np.frombuffer(raw, dtype))


@given(st.lists(st.text(max_size=5), max_size=5))
def test_texts_survive_the_trip(texts):
    raw = packed("BYTES", texts)
    tensor = {"name": "a", "shape": [len(texts), 1], "datatype": "BYTES"}
    tensor["parameters"] = {"binary_data_size": len(raw)}

    (read,) = filled([tensor], memoryview(raw), 100)

    assert [value.decode() for value in read["data"]] == texts


@given(st.binary(max_size=40), st.binary(max_size=4))
def test_any_length_is_split_or_refused(body, header):
    try:
        text, raw = split(body, header)
    except InputError:
        return
    assert text + raw.tobytes() == body
