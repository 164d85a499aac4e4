import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from proto_model.table import RawTable, prepare
from proto_model.training.selection.cross_validation import FoldRows
from proto_model.training.selection.references import BOOSTING, FREQUENCIES, LINEAR, judged_references


def table(n_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    frame = pd.DataFrame(
        {
            "x": np.where(rng.random(n_rows) < 0.1, np.nan, x),
            "many": rng.choice([f"level {i:03}" for i in range(120)], n_rows),
            "day": pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, n_rows), "D"),
            "noise": rng.normal(size=n_rows),
        }
    )
    return frame.assign(y=np.where(x + rng.normal(0, 0.5, n_rows) > 0, "yes", "no"))


def judged(frame):
    data = prepare(RawTable("made", "made", pa.Table.from_pandas(frame, preserve_index=False)), "y")
    return judged_references(FoldRows.of(data, 0), 0)


def test_whatever_a_table_holds_the_references_learn_from_it():
    frequencies, linear, boosting = judged(table())

    assert [kind.name for kind in (frequencies, linear, boosting)] == [FREQUENCIES, LINEAR, BOOSTING]
    assert frequencies.folds.mean("log_loss") == pytest.approx(np.log(2), rel=0.02)
    assert linear.folds.mean("log_loss") < 0.6
    assert boosting.folds.mean("log_loss") < 0.6
    assert linear.test_metrics["balanced_accuracy"] > 0.7


def test_they_are_the_same_every_time():
    once, again = judged(table()), judged(table())

    for a, b in zip(once, again, strict=True):
        assert_array_equal(a.folds.by_metric["log_loss"], b.folds.by_metric["log_loss"])
        assert a.test_metrics == b.test_metrics


def test_classes_that_a_fold_does_not_learn_have_no_probability():
    frame = table()
    frame.loc[:1, "y"] = "rare"  # one or two rows: some folds judge what they have not learned

    for reference in judged(frame):
        assert np.isfinite(reference.folds.by_metric["brier"]).all()
        assert np.isfinite(reference.folds.by_metric["log_loss"]).all()
