"""What a user should know of a table before trusting a model of it: what was found, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from proto_model.column_lists import column_list
from proto_model.errors import DataError, counted
from proto_model.schema import Label
from proto_model.table.caution import Caution
from proto_model.table.contradictions import contradictions
from proto_model.table.identifiers import constant_columns, identifier_columns
from proto_model.table.leaks import Suspect, suspects
from proto_model.table.roles import DROPPED
from proto_model.table.shift import shift
from proto_model.table.training_data import TrainingData

FEW_TRAINING_ROWS = 20
FEW_TEST_ROWS = 5
LEAST_ROWS = 20
MANY_CLASSES = 100
_REACHABLE = 0.99  # contradictions that leave a better score than this are not worth a warning
_OPPOSED = 0.02
_MAX_LISTED = 8


def data_cautions(data: TrainingData, random_state: int = 0) -> tuple[Caution, ...]:
    """What the table alone gives reason to warn of, the gravest first; no text holds a feature's value."""
    return (
        *_leaks(data, random_state),
        *_shift(data, random_state),
        *_contradictions(data),
        *_few_rows(data),
        *_many_classes(data),
        *_identifiers(data),
        *_constants(data),
    )


def check_rows(data: TrainingData) -> None:
    """Raise DataError for a table from which nobody can learn, or tell how good a model is."""
    if data.n_rows < LEAST_ROWS:
        raise DataError(
            f"{data.name} has {counted(data.n_rows, 'row')} with a class: {len(data.y_train)} to learn from, "
            f"and {len(data.y_test)} to judge by. At least {LEAST_ROWS} are needed. Collect more."
        )


def spelt(label: Label) -> str:
    """A class label as JSON spells it."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def named(names: Sequence[str]) -> str:
    """Names of columns as they stand in a sentence."""
    shown = [f"`{' '.join(name.split())}`" for name in names[:_MAX_LISTED]]
    if len(names) > _MAX_LISTED:
        return f"{', '.join(shown)} and {len(names) - _MAX_LISTED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def to_drop(names: Iterable[str], data: TrainingData) -> str:
    """The parameter that leaves columns out, beside those that the user leaves out already."""
    already = [column.name for column in data.dropped if column.reason == DROPPED]
    listed = column_list([*already, *names])
    return f"`-P drop={listed}`" if listed.replace(",", "").isidentifier() else f"`-P 'drop={listed}'`"


#: By how a column tells the class: the sentences for one such column, and for several.
_LEAKS = {
    "copy": (
        "{names} is another copy of the target: each of its values goes with one class of {target}. Drop it: "
        "{drop}.",
        "{names} are other copies of the target: each of their values goes with one class of {target}. Drop "
        "them: {drop}.",
    ),
    "alone": (
        "{names} alone tells the class of {target} with a balanced accuracy of {scores} in cross-validation. "
        "If it is known only after the outcome, drop it: {drop}.",
        "{names} alone each tell the class of {target} with a balanced accuracy of {scores} in "
        "cross-validation. If they are known only after the outcome, drop them: {drop}.",
    ),
    "missing": (
        "Whether {names} is filled in tells the class of {target}, with a balanced accuracy of {scores}. If "
        "it is filled in only after the outcome, drop it: {drop}.",
        "Whether {names} are filled in tells the class of {target}, with a balanced accuracy of {scores}. If "
        "they are filled in only after the outcome, drop them: {drop}.",
    ),
}


def _leaks(data: TrainingData, random_state: int) -> Iterable[Caution]:
    by_kind: dict[str, list[Suspect]] = {}
    for suspect in suspects(data, random_state):
        by_kind.setdefault(suspect.how, []).append(suspect)
    for how, texts in _LEAKS.items():
        if found := by_kind.get(how):
            names = tuple(suspect.column for suspect in found)
            text = texts[len(names) > 1].format(
                names=named(names),
                target=named([data.schema.target]),
                scores=_scores(found),
                drop=to_drop(names, data),
            )
            yield Caution("leak", names, text)


def _scores(found: Sequence[Suspect]) -> str:
    scores = sorted({f"{suspect.score:.3f}" for suspect in found})
    return scores[0] if len(scores) == 1 else f"{scores[0]} to {scores[-1]}"


def _shift(data: TrainingData, random_state: int) -> Iterable[Caution]:
    found = shift(data, random_state)
    if found is None:
        return
    p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    where = f" Most of it shows in {named(found.columns)}." if found.columns else ""
    yield Caution(
        "shift",
        found.columns,
        "Training and test rows differ: a classifier tells which part a row is from, with an area under the "
        f"ROC curve of {found.auc:.2f} (0.50: it cannot; {p_value}).{where} Cross-validation and test rows "
        "then speak of different rows. Find out what changed, or drop what will not last.",
    )


def _contradictions(data: TrainingData) -> Iterable[Caution]:
    found = contradictions(data)
    if min(found.best_accuracy, found.best_balanced_accuracy) >= _REACHABLE:
        return
    # Where a row's hash covers its class, those of equal rows that are of one class are in one part.
    opposed = (
        f" {found.n_opposed:,} of the {found.n_test:,} test rows have equal rows in training, all of another "
        "class, so the score on the test rows is too low."
        if data.split_by.rule == "rows" and found.n_opposed > _OPPOSED * found.n_test
        else ""
    )
    yield Caution(
        "contradictory",
        (),
        f"{found.n_rows:,} rows in {found.n_groups:,} groups have equal features, but different classes. On "
        f"this table, no model can be better than {found.best_accuracy:.3f} in accuracy and "
        f"{found.best_balanced_accuracy:.3f} in balanced accuracy.{opposed} Check their classes, or add a "
        "column that tells them apart.",
    )


def _few_rows(data: TrainingData) -> Iterable[Caution]:
    counts = [
        (label, int((data.y_train == label).sum()), int((data.y_test == label).sum()))
        for label in data.schema.classes
    ]
    few = [item for item in counts if item[1] < FEW_TRAINING_ROWS or item[2] < FEW_TEST_ROWS]
    if not few:
        return
    shown = [f"{spelt(label)} ({n_train} training, {n_test} test rows)" for label, n_train, n_test in few]
    more = f" and {len(few) - _MAX_LISTED} more" if len(few) > _MAX_LISTED else ""
    meaning = []
    if any(n_train < FEW_TRAINING_ROWS for _, n_train, _ in few):
        meaning.append(f"Fewer than {FEW_TRAINING_ROWS} training rows teach a model little of a class.")
    least = min(n_test for _, _, n_test in few)
    if 0 < least < FEW_TEST_ROWS:
        meaning.append(
            f"With {counted(least, 'test row')}, one row moves a class's recall by {100 / least:.0f} points."
        )
    yield Caution(
        "few_rows",
        (),
        f"Classes of {named([data.schema.target])} with few rows: {', '.join(shown[:_MAX_LISTED])}{more}. "
        f"{' '.join(meaning)} Collect more of them, or merge them with other classes.",
    )


def _many_classes(data: TrainingData) -> Iterable[Caution]:
    n_classes = len(data.schema.classes)
    if n_classes > MANY_CLASSES:
        yield Caution(
            "many_classes",
            (),
            f"{named([data.schema.target])} has {n_classes:,} classes. Training may take many minutes. "
            "If it is a quantity or an identifier, "
            "choose another target: `-P target=NAME`; else merge classes.",
        )


def _identifiers(data: TrainingData) -> Iterable[Caution]:
    if names := identifier_columns(data):
        verb = "looks like an identifier" if len(names) == 1 else "look like identifiers"
        yield Caution(
            "id_like",
            tuple(names),
            f"{named(names)} {verb}: the values say which row it is, not what it is like, so what is "
            f"learned from them fits no other row. Drop {'it' if len(names) == 1 else 'them'}: "
            f"{to_drop(names, data)}.",
        )


def _constants(data: TrainingData) -> Iterable[Caution]:
    if names := constant_columns(data):
        yield Caution(
            "constant",
            tuple(names),
            f"{named(names)} {'has' if len(names) == 1 else 'have'} one value in all training rows, so no "
            "model learns from it.",
        )
