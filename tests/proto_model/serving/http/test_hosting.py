"""Models by name, and swaps: who answers, with what, and what is left of those that did."""

import asyncio
import gc
import shutil
import time
import weakref

import pytest

from proto_model.registry.follow import Follower
from proto_model.registry.offer import Followed, Offer
from proto_model.serving.http.app import App
from proto_model.serving.http.following import Following
from proto_model.serving.http.hosting import Hosted, Hosting, Source
from proto_model.serving.http.metrics import Metrics
from proto_model.serving.http.settings import ServerSettings

ALIAS = Followed("people", "champion")
BODY = (
    b'{"dataframe_records": [{"age": 40, "income": 2e4, "job": "nurse", "owner": true, "children": 1}]'
    b', "params": {"explain": %s}}'
)
JSON = {"Content-Type": "application/json"}
WAIT_S = 20


class Board:
    """A followed model whose version the test sets."""

    def __init__(self, folder, model_folder):
        self.folder = folder
        self.version = "1"

        def download(uri, place):
            shutil.copytree(model_folder, place)
            (place / "registered_model_meta").write_text(f"model_version: '{self.version}'\n")
            return place

        self.follower = Follower(folder, 0, ALIAS, lambda _: self.version, download)
        self.follower.check()

    def promote(self, version):
        self.version = version
        self.follower.check()
        return Offer.read(self.folder, 0)


@pytest.fixture
def board(tmp_path, model_folder):
    return Board(tmp_path, model_folder)


@pytest.fixture(params=[1, 2])
def hosted(request, board):
    """One of one worker, with memory of its own, or of two, which share theirs."""
    settings = ServerSettings(workers=request.param)
    hosted = Hosted(Hosting([Source(followed=ALIAS, name="people")], settings, board.folder))
    yield hosted
    hosted.models.close()


def test_a_request_ends_on_the_version_that_it_began_on(hosted, board, ask, slow):
    app = App(hosted, Metrics())
    slow.bundle = hosted.models.first.model.predictor.bundle
    hosted.models.first.service._payload._predictor = slow

    async def both():
        explained = asyncio.create_task(ask(app, "POST", "/invocations", BODY % b"true", JSON))
        await asyncio.to_thread(slow.begun.acquire)
        hosted.take(0, board.promote("2"))
        after = await ask(app, "POST", "/invocations", BODY % b"false", JSON)
        assert not explained.done()
        slow.go.set()
        return after, await explained

    after, before = asyncio.run(both())

    assert (before.status, before.headers["x-model-version"]) == (200, "1")
    assert (after.status, after.headers["x-model-version"]) == (200, "2")
    assert after.json["predictions"][0].items() <= before.json["predictions"][0].items()


def test_nothing_is_left_of_a_version_without_a_collection(hosted, board, ask):
    app = App(hosted, Metrics())
    gc.collect()
    gc.disable()
    try:
        asyncio.run(ask(app, "POST", "/invocations", BODY % b"false", JSON))
        engine = weakref.ref(hosted.models.first.model.predictor.bundle.engine)
        hosted.take(0, board.promote("2"))
        assert engine() is None
    finally:
        gc.enable()

    board.follower.check()
    assert [path.name for path in (board.folder / "0").iterdir()] == ["2"]


def test_what_versions_leave_in_cycles_is_collected_after_a_swap(hosted, board):
    schema = weakref.ref(hosted.models.first.model.schema)
    gc.collect()
    gc.disable()  # it comes after so many objects that a hundred versions would be kept until then
    try:
        with Following(hosted, board.folder):
            board.promote("2")
            end = time.monotonic() + WAIT_S
            while schema() is not None:
                assert time.monotonic() < end
                time.sleep(0.01)
    finally:
        gc.enable()

    assert hosted.models.first.version == "2"


def test_explainers_are_made_before_a_version_answers(hosted, board, ask):
    asyncio.run(ask(App(hosted, Metrics()), "POST", "/invocations", BODY % b"true", JSON))

    hosted.take(0, board.promote("2"))

    assert hosted.models.first.model.predictor.engines == ("lore",)


def test_what_cannot_be_loaded_is_told_and_the_old_version_answers(hosted, board):
    following = Following(hosted, board.folder)
    offer = board.promote("2")
    shutil.rmtree(offer.folder(board.folder, 0) / "prepared")
    following._look(0)

    (state,) = hosted.ready()["models"]
    assert (state["version"], state["problem"]) == ("1", "load")
    assert "Version 2 cannot be loaded" in state["detail"]
    assert 'problem="load"} 1' in "\n".join(hosted.lines())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/a/invocations", 200),
        ("/models/b/invocations", 200),
        ("/models/b/score", 200),
        ("/models/c/invocations", 404),
        ("/models/b/9/invocations", 404),
        ("/models/b/champion/9/invocations", 404),
        ("/models/b/other", 404),
        ("/models/", 404),
    ],
)
def test_models_answer_under_their_names(served, ask, path, status):
    hosted = Hosted(Hosting([Source(served, "a"), Source(served, "b")], ServerSettings()))

    reply = asyncio.run(ask(App(hosted, Metrics()), "POST", path, BODY % b"false", JSON))
    hosted.models.close()

    assert reply.status == status
    if status == 404 and path.endswith("invocations") and "9" not in path:
        assert reply.json["message"] == "There is no model 'c' here. There are 'a' and 'b'."
