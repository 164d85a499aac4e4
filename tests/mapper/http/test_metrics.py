"""The page of counters."""

import pytest

from mapper.http import metrics as module
from mapper.http.metrics import PAGES_PER_S, Metrics


def test_a_flood_of_requests_for_the_page_gets_the_same_one(monkeypatch):
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    written = []
    monkeypatch.setattr(module, "generate_latest", lambda registry: written.append(1) or b"%d" % len(written))
    metrics = Metrics()

    for seconds in range(3):
        now = 100.5 + 2 * seconds
        pages = [metrics.text() for _ in range(1000)]
        first = seconds * PAGES_PER_S
        assert pages[:PAGES_PER_S] == [b"%d" % (first + i + 1) for i in range(PAGES_PER_S)]
        assert set(pages[PAGES_PER_S:]) == {pages[PAGES_PER_S - 1]}


@pytest.mark.parametrize("status", [200, 503])
def test_a_page_that_is_asked_for_now_and_then_is_new(status):
    metrics = Metrics()
    for count in (1.0, 2.0):
        metrics.finish("/readyz", status, "ok", 0.1)
        assert f'status="{status}"}} {count}'.encode() in metrics.text()
