"""Requests per client, of several workers."""

from proto_model.serving.http.client_counts import OTHERS, SLOTS, ClientCounts


def test_workers_are_summed_up_by_name():
    counts = ClientCounts(2)
    assert counts.lines() == []
    for worker, names in ((0, ["anna", "bob"]), (1, ["bob", "carl", "bob"]), (0, ["anna"])):
        counts.use(worker)  # a worker that is started again keeps its counts
        for name in names:
            counts.count(name)

    assert counts.lines()[2:] == [
        'proto_model_client_requests_total{client="anna"} 2',
        'proto_model_client_requests_total{client="bob"} 3',
        'proto_model_client_requests_total{client="carl"} 1',
    ]


def test_names_beyond_the_memory_for_them_are_counted_together():
    counts = ClientCounts(1)
    for number in range(2 * SLOTS):
        counts.count(f"client-{number}")

    assert len(counts.lines()) == 2 + SLOTS
    assert f'client="{OTHERS}"}} {SLOTS + 1}' in "".join(counts.lines())
