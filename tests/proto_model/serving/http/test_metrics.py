"""The page of counters, however often it is asked for."""

from proto_model.serving.http import metrics as module
from proto_model.serving.http.metrics import PAGES_PER_S, Metrics


def test_a_flood_of_requests_for_the_page_gets_the_same_one(monkeypatch, mixed_data):
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    metrics = Metrics()

    def page():
        metrics.count("metrics", 200, 0.001, 0)
        return metrics.text()

    def line(count):
        return b'proto_model_requests_total{route="metrics",status="200"} %d\n' % count

    for asked in (0, 1000):
        now += 2
        pages = [page() for _ in range(1000)]
        for count, text in enumerate(pages[:PAGES_PER_S], asked + 1):
            assert line(count) in text
        assert set(pages[PAGES_PER_S:]) == {pages[PAGES_PER_S - 1]}
