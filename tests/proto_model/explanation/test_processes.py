import os
import signal
import threading

import numpy as np
import pytest

from proto_model.errors import ExplanationError, InputError
from proto_model.explanation import ProcessExplainer, make_explainer, processes
from proto_model.parameters import Parameters

OPTIONS = Parameters(max_counterfactuals=1)


@pytest.fixture
def from_the_first_row(monkeypatch):
    """Starts the workers for any call."""
    monkeypatch.setattr(processes, "MIN_ROWS", 1)


@pytest.mark.usefixtures("from_the_first_row")
def test_processes_give_the_same_in_order_and_tell_the_progress(explainer, rows):
    told, several = [], {}

    def ask(key, some):
        several[key] = many.explain(some, OPTIONS)

    with ProcessExplainer(explainer, n_jobs=2) as many:
        assert many.explain(rows[:21], OPTIONS, lambda *done: told.append(done)) == explainer.explain(
            rows[:21], OPTIONS
        )
        threads = [threading.Thread(target=ask, args=(k, rows[k : k + 9])) for k in (0, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with pytest.raises(InputError, match="no_such"):
            many.explain(rows[:9], Parameters(immutable_features=("no_such",)))
        with pytest.raises(InputError, match="Row 3"):
            many.explain(np.where(np.arange(9)[:, np.newaxis] == 3, np.inf, rows[:9]), OPTIONS)
        ended = list(many._workers._processes.values())

    assert told == [(k + 1, 21) for k in range(21)]
    assert several == {k: explainer.explain(rows[k : k + 9], OPTIONS) for k in (0, 9)}
    assert not any(process.is_alive() for process in ended)


@pytest.mark.usefixtures("from_the_first_row")
def test_a_worker_that_is_ended_is_told_of(explainer, rows):
    def end_one(done, total):
        os.kill(next(iter(many._workers._processes)), signal.SIGKILL)

    with ProcessExplainer(explainer, n_jobs=2) as many, pytest.raises(ExplanationError, match="fewer than 2"):
        many.explain(rows, OPTIONS, end_one)


def test_few_rows_start_no_processes(explainer, rows):
    with ProcessExplainer(explainer, n_jobs=2) as many:
        assert many.explain(rows[:2], OPTIONS) == explainer.explain(rows[:2], OPTIONS)
        assert many._workers is None


@pytest.mark.usefixtures("from_the_first_row")
def test_a_model_that_does_not_pickle_is_named(schema, rows, model):
    explainer = make_explainer("lore", schema, rows, lambda X: model(X))

    with ProcessExplainer(explainer, n_jobs=2) as many, pytest.raises(ExplanationError, match="n_jobs=1"):
        many.explain(rows[:2], OPTIONS)
    with ProcessExplainer(explainer, n_jobs=1) as none:
        assert len(none.explain(rows[:2], OPTIONS)) == 2
    with pytest.raises(ValueError, match="at least 1"):
        ProcessExplainer(explainer, n_jobs=0)
