import io
import json

import pytest
from rich.console import Console

from proto_model.invocation.answer import answer_table, answered_rows, explanation_text, parsed_rows
from proto_model.invocation.http import InvocationError


@pytest.mark.parametrize("answer", [{}, [], {"predictions": []}, {"predictions": [1]}, {"predictions": {}}])
def test_an_answer_without_predictions_is_an_error(answer):
    with pytest.raises(InvocationError, match="No predictions"):
        answered_rows(answer)


def test_answers_of_both_servers_become_a_table():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(answer_table([{"prediction": "a", "probability": 0.75, "probability_a": 0.75}]))
    console.print(answer_table([{"prediction": "b", "probabilities": {"b": 1.0}, "explanation": {}}]))
    text = console.export_text()

    assert "0.7500" in text
    assert "probabilities b" in text
    assert "explanation" not in text


def test_an_explanation_is_told_in_sentences():
    explanation = {
        "rule": {"text": "IF a > 1 THEN yes"},
        "counterfactuals": [{"text": "a = 0 gives no", "valid": False}],
        "notes": ["few rows"],
    }

    assert explanation_text(2, json.loads(json.dumps(explanation))).splitlines() == [
        "Why row 2: IF a > 1 THEN yes",
        "  a = 0 gives no (not confirmed by the model)",
        "  note: few rows",
    ]


def test_rows_of_a_file_are_read_as_those_of_an_answer():
    row = {"row": "0", "prediction": "7", "probability": "0.75", "explanation": '{"a": 1}', "error": ""}

    assert parsed_rows([row]) == [
        {"row": "0", "prediction": "7", "probability": 0.75, "explanation": {"a": 1}}
    ]


def test_classes_that_look_like_markup_are_shown_as_they_are():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(answer_table([{"prediction": "[low]", "probability_[low]": 1.0}, {"prediction": "[/red]"}]))
    text = console.export_text()

    assert text.count("[low]") == 2
    assert "[/red]" in text


@pytest.mark.parametrize("explanation", [None, "none", {}, {"rule": None}, {"rule": {"text": "x"}}])
def test_an_explanation_of_another_form_is_an_error(explanation):
    with pytest.raises(InvocationError, match="row 3 has no known form"):
        explanation_text(3, explanation)


def test_probabilities_share_a_column_where_a_narrow_terminal_has_no_room_for_each():
    rows = [
        {
            "prediction": "versicolor",
            "probability": 0.9,
            "probability_setosa": 0.02,
            "probability_versicolor": 0.9,
            "probability_virginica": 0.08,
        }
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(answer_table(rows, console.width))
    shown = console.file.getvalue()

    for text in ("probability", "of each class", "0.9000 versicolor", "0.0800 virginica", "0.0200 setosa"):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert answer_table(rows, 200).columns[-1].header.plain == "probability_virginica"
