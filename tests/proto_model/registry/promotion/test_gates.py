import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.errors import InputError
from proto_model.registry.promotion.gates import Gate, parse_gates
from proto_model.statistics import CLASS_METRIC_NAMES

names = st.text(st.characters(exclude_characters="[]"), min_size=1).map(str.strip).filter(bool)


@pytest.mark.parametrize(
    ("kind", "text", "gate"),
    [
        ("metric", "balanced_accuracy>=.9", ("balanced_accuracy", 0.9, True, None, None, False)),
        ("metric", " recall[malignant] >= .95 ", ("recall", 0.95, True, "malignant", None, False)),
        ("metric", "precision[>=50K] >= 0.5", ("precision", 0.5, True, ">=50K", None, False)),
        ("metric", "log_loss <= 1.5", ("log_loss", 1.5, False, None, None, False)),
        ("group", "selection_ratio[sex] >= .8", ("selection", 0.8, True, None, "sex", True)),
        ("group", "tpr_gap[age group][yes] <= .1", ("tpr", 0.1, False, "yes", "age group", False)),
        ("group", "accuracy_gap[sex] <= 0.05", ("accuracy", 0.05, False, None, "sex", False)),
        ("no_worse", "roc_auc=.005", ("roc_auc", 0.005, True, None, None, False)),
        ("no_worse", "recall[a = b] = 0", ("recall", 0.0, True, "a = b", None, False)),
    ],
)
def test_a_gate_is_read_as_it_is_meant(kind, text, gate):
    assert parse_gates([text], kind) == (Gate(kind, text.strip(), *gate),)


def test_several_gates_come_in_one_text_or_in_several():
    together = parse_gates(["recall[a;b] >= .9; f1[c] >= .8", "accuracy >= .7;"], "metric")

    assert [(gate.name, gate.label) for gate in together] == [
        ("recall", "a;b"),
        ("f1", "c"),
        ("accuracy", None),
    ]
    assert parse_gates([], "metric") == ()


@given(st.sampled_from(CLASS_METRIC_NAMES), names, st.floats(0, 1))
def test_a_class_may_be_called_anything_but_brackets(metric, label, limit):
    (gate,) = parse_gates([f"{metric}[{label}] >= {limit!r}"], "metric")

    assert (gate.name, gate.label, gate.limit) == (metric, label, limit)


@pytest.mark.parametrize(
    ("kind", "text", "phrase"),
    [
        ("metric", "recal[a] >= .9", "no metric 'recal'. Did you mean 'recall'?"),
        ("metric", "speed >= .9", "no metric 'speed'. There are: balanced_accuracy,"),
        ("metric", "recall >= .9", r"recall is a metric of one class. Name it: recall\[CLASS\]"),
        ("metric", "accuracy[a] >= .9", r"accuracy is a metric of all classes; leave out \[a\]"),
        ("metric", "log_loss >= .3", "log_loss is better when lower, so write log_loss <= NUMBER"),
        ("metric", "accuracy <= .3", "accuracy is better when higher"),
        ("metric", "accuracy >= 95", "95 given, a number from 0 to 1 expected"),
        ("metric", "accuracy >= nan", "nan given, a number from 0 to 1 expected"),
        ("metric", "accuracy >= high", "high given, a number from 0 to 1 expected"),
        ("metric", "log_loss <= inf", "inf given, a number from 0 expected"),
        ("metric", "accuracy > .9", "is not understood. --gate expects METRIC >= NUMBER"),
        ("metric", "accuracy", "is not understood"),
        (
            "group",
            "selection_rate[sex] >= .8",
            "no measure 'selection_rate'. Did you mean 'selection_ratio'?",
        ),
        ("group", "selection_ratio >= .8", "the column with the groups is missing"),
        ("group", "selection_ratio[sex] <= .8", "a ratio takes >="),
        ("group", "tpr_gap[sex] >= .1", "a gap takes <="),
        ("group", "accuracy_ratio[sex][yes] >= .8", r"about all classes; leave out \[yes\]"),
        ("no_worse", "roc_auc >= .9", "--no-worse expects METRIC=MARGIN"),
        ("metric", "", "is empty. --gate expects METRIC >= NUMBER"),
        ("no_worse", " ; ", "is empty. --no-worse expects METRIC=MARGIN"),
        ("no_worse", "roc_auc=-1", "-1 given, a number from 0 to 1 expected"),
    ],
)
def test_what_is_wrong_with_a_gate_is_said(kind, text, phrase):
    with pytest.raises(InputError, match=phrase) as refused:
        parse_gates([text], kind)
    assert repr(text) in str(refused.value)


def test_no_number_is_taken_that_is_none():
    assert not math.isnan(parse_gates(["accuracy >= 1e-3"], "metric")[0].limit)
