"""Requests, sessions and answers as the TANGO platform hands them over: enums, objects, bytes."""

import dataclasses
import enum
import json
import types
from collections import namedtuple
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapper import ModelServerProxy, RequestType, WorkingSession
from mapper.errors import InvalidRequestError, ModelServerAnswerError, NotJsonError
from mapper.mapping.objects import plain, request_kind

REQUEST = {"data": {"mass": 4.2, "ringed": True}, "session": {"id": "1"}}


@dataclasses.dataclass
class Request:
    data: object = None
    file: object = None
    parameters: object = None
    session: object = None
    request_id: str = "r-1"  # the platform's own


@dataclasses.dataclass(slots=True)
class Slots:
    data: object
    session: object


class Properties:
    def __init__(self, data, session):
        self._data, self._session = data, session

    data = property(lambda self: self._data)
    session = property(lambda self: self._session)


@dataclasses.dataclass
class Penguin:
    mass: float
    ringed: bool


class Envelope:
    """A request within a request, as text or as an object."""

    def __init__(self, body):
        self.kind, self.body = "invocation", body


Tuple = namedtuple("Tuple", "data session")
FORMS = [
    dict,
    types.MappingProxyType,
    lambda r: json.dumps(r).encode(),
    lambda r: bytearray(json.dumps(r).encode()),
    lambda r: memoryview(json.dumps(r).encode()),
    lambda r: Request(**r),
    lambda r: Slots(**r),
    lambda r: Properties(**r),
    lambda r: Tuple(**r),
    lambda r: types.SimpleNamespace(**r),
    lambda r: Request(data=[Penguin(**r["data"])], session=r["session"]),
    lambda r: Envelope(json.dumps(r)),
    lambda r: Envelope(r),
    lambda r: Envelope(Request(**r)),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("explain", [False, True])
def test_every_form_of_a_request_is_mapped_as_the_dictionary_is(model, form, explain):
    tango = model.get_explainer() if explain else model
    expected = tango.map_request(REQUEST)

    mapped = tango.map_request(form(REQUEST))

    assert mapped == expected
    assert (mapped.n_rows, mapped.explain, mapped.session) == (1, explain, {"id": "1"})


def test_a_file_request_may_be_an_object_too(model):
    file = types.SimpleNamespace(input_url="https://s/in", output_url="https://s/out", file_id=None)

    assert model.map_request(Request(file=file)) == {
        "inputs": {"input_url": ["https://s/in"], "output_url": ["https://s/out"]}
    }


def test_a_session_of_any_kind_comes_back_as_json(model):
    class State(enum.Enum):
        OPEN = "OPEN"

    session = types.SimpleNamespace(
        id=7, state=State.OPEN, began=datetime(2026, 1, 2, tzinfo=UTC), log=({"a": 1},)
    )
    request = model.map_request(REQUEST, session)

    assert request.session == {
        "id": 7,
        "state": "OPEN",
        "began": "2026-01-02T00:00:00+00:00",
        "log": [{"a": 1}],
    }
    assert model.map_request(REQUEST, WorkingSession(id="2")).session == {"id": "2"}
    assert model.map_request(REQUEST).session == {"id": "1"}


def test_what_cannot_be_a_request_is_said(model):
    with pytest.raises(NotJsonError, match="not JSON"):
        model.map_request(b"{")
    with pytest.raises(InvalidRequestError) as told:
        model.map_request(types.SimpleNamespace(body="x", weight=3))
    assert "a SimpleNamespace without `data` or `file` given; it has body, weight" in str(
        told.value.errors[0]
    )
    for nothing in ("text", 3, None, [1], object()):
        with pytest.raises(InvalidRequestError):
            model.map_request(nothing)
    endless = types.SimpleNamespace(data=None)
    endless.data = [endless]
    with pytest.raises(InvalidRequestError, match="1 fault"):
        model.map_request(endless)
    with pytest.raises(InvalidRequestError) as told:
        model.map_request({"data": {"mass": 1, "ringed": True}}, endless)
    assert "session: cannot be sent back as JSON" in str(told.value.errors[0])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SESSIONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(SESSIONS)
def test_json_is_plain_already_and_stays_as_it_is_within_objects(value):
    assert plain(value) == value
    assert plain(types.SimpleNamespace(a=value, _hidden=object())) == {"a": value}


@given(SESSIONS)
def test_a_session_comes_back_as_it_was(model, session):
    request = model.map_request(REQUEST, session)

    assert request.session == (REQUEST["session"] if session is None else session)


@pytest.mark.parametrize("kind", ["predict", "explain"])
def test_a_request_type_is_a_text_or_a_member_of_any_enum(kind):
    foreign = enum.Enum("RequestType", {"PREDICT": 1, "EXPLAIN": 2})
    other = enum.Enum("RequestType", {"A": "prediction", "B": "explanation"})

    assert request_kind(kind) == request_kind(RequestType[kind.upper()]) == kind
    assert request_kind(foreign[kind.upper()]) == kind
    assert request_kind(other.A if kind == "predict" else other.B) == kind


@pytest.mark.parametrize("wrong", ["train", "", None, 1, enum.Enum("RequestType", {"TRAIN": 3}).TRAIN])
def test_another_request_type_is_refused(wrong):
    with pytest.raises(ValueError, match="'predict' or 'explain' expected"):
        request_kind(wrong)


@pytest.mark.parametrize("as_payload", [dict, lambda m: json.dumps(m).encode(), json.dumps, lambda m: m])
@pytest.mark.parametrize("as_response", [dict, lambda a: json.dumps(a).encode(), lambda a: a])
def test_the_way_of_the_platform_gives_what_the_service_gives(model, model_server, as_payload, as_response):
    proxy = ModelServerProxy(server_proxy_url=model_server.url)
    for kind, tango in ((RequestType.PREDICT, model), (RequestType.EXPLAIN, model.get_explainer())):
        request = tango.map_request(Request(data=REQUEST["data"]))
        expected = tango.map_response(proxy.invoke(kind.value, request))

        response = proxy.invoke(kind, as_payload(request))
        answer = tango.map_response(as_response(response))

        assert answer == expected
        assert ("explanation" in answer["predictions"][0]) is (kind == RequestType.EXPLAIN)
    proxy.close()


def test_a_files_summary_is_known_by_itself(model, model_server):
    request = {"file": {"input_url": "https://s/in", "output_url": "https://s/out"}}
    proxy = ModelServerProxy(model_server.url)

    response = proxy.invoke("predict", json.dumps(model.map_request(request)).encode())

    assert model.map_response(dict(response))["file"] == {"file_id": None, "status": "done", "rows": 3}
    proxy.close()


def test_an_answer_that_is_none_is_told(model):
    for wrong in (b"{", b"[]", None, [], "x", {"predictions": 3}):
        with pytest.raises(ModelServerAnswerError):
            model.map_response(wrong)
    row = {
        "prediction": "Gentoo",
        "probability": 0.75,
        "probability_Adelie": 0.25,
        "probability_Gentoo": 0.75,
    }
    with pytest.raises(ModelServerAnswerError, match="explanation"):
        model.get_explainer().map_response({"predictions": [row]})
