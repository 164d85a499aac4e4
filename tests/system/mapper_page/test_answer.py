"""Answers on the mapper's page: explanations, changes that are applied, and tables of rows."""

import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.system.mapper_page.pages import (
    EVIL,
    LABELLED,
    MARKS,
    field,
    fill,
    focused,
    open_page,
    press,
    texts,
    value_of,
    wait_for,
)

pytestmark = MARKS


def test_an_explanation_has_a_rule_and_counterfactuals(browser, people):
    open_page(browser, people)
    fill(browser, "size", "1")
    press(browser, "Explain")

    assert wait_for(browser, ".verdict strong").text == "granted"
    assert any("size" in text for text in texts(browser, ".premises li"))
    measures, meaning = texts(browser, ".card .quiet")
    assert "precision" in measures
    assert meaning.startswith("Fidelity: how well a small tree")
    changes = texts(browser, "ol.card > li")
    assert changes
    assert all("gives refused" in text for text in changes)
    assert "What mattered" in texts(browser, "#result h3")


ANSWER = {
    "prediction": "a",
    "probability": 0.6,
    "probabilities": {"a": 0.6, "b": 0.3, "c": 0.1},
    "prediction_set": ["a", "b"],
    "explanation": {
        "prediction": "a",
        "probability": 0.6,
        "rule": {
            "premises": [{"feature": "size", "above": 1}],
            "consequence": "a",
            "text": "IF size > 1 THEN a",
            "precision": 0.99,
            "coverage": 0.2,
        },
        "counterfactuals": [
            {
                "changes": [{"feature": "size", "from": 2, "to": 3, "against": True}],
                "prediction": "b",
                "probability": 0.5,
                "valid": True,
            }
        ],
        "held_fixed": ["age"],
        "feature_importances": {"size": 1.0},
        "fidelity": 0.38,
        "class_fidelity": 0.73,
        "notes": ["Every counterfactual has a change that leads away from its class on average (against)."],
    },
}


SHOW = """
const [answer, done] = arguments;
import("/page/answer.js").then(({ showAnswer }) => {
  showAnswer(document.getElementById("result"), answer, { features: [], model_name: "m" }, 1);
  done();
});
"""


def test_what_an_explanation_warns_of_stands_beside_what_it_is_about(browser, people):
    open_page(browser, people)
    browser.execute_async_script(SHOW, {"predictions": [ANSWER]})

    measures, meaning = texts(browser, ".card .quiet")
    assert measures == "precision 99.0 % · coverage 20.0 % · fidelity 38.0 % · class fidelity 73.0 %"
    assert meaning.startswith("Class fidelity: how well a small tree")
    assert "an exception: on average, this leads away from b" in texts(browser, ".changes li")[0]
    assert texts(browser, ".set") == ["Prediction set: a, b (it may be any of them)"]
    # The note stands with the counterfactuals, before the features that mattered.
    parts = texts(browser, "#result > *")
    assert parts.index(ANSWER["explanation"]["notes"][0]) < parts.index("What mattered")
    assert parts.index("Held fixed, as sensitive: age.") < parts.index("What mattered")

    nothing = {
        **ANSWER["explanation"],
        "counterfactuals": [],
        "notes": ["No allowed change gives another class."],
    }
    browser.execute_async_script(
        SHOW, {"predictions": [{**ANSWER, "prediction_set": ["a"], "explanation": nothing}]}
    )
    assert "no other class fits" in texts(browser, ".set")[0]
    assert not any("No change was found" in text for text in texts(browser, "#result > *"))


def test_the_options_of_explanations_are_those_of_the_service_and_are_sent(session, people):
    session.get_log("browser")
    open_page(session, people)
    session.find_element(By.TAG_NAME, "summary").click()
    assert {"effort", "seed", "max counterfactuals"} <= set(texts(session, "#options label"))
    fill(session, "max counterfactuals", "0")
    press(session, "Explain")
    wait_for(session, ".premises li")
    assert texts(session, "ol.card > li") == []

    fill(session, "max counterfactuals", "99")
    press(session, "Explain")
    wait_for(session, ".problem")
    assert focused(session) == field(session, "max counterfactuals")
    assert [entry["source"] for entry in session.get_log("browser")] == ["network"]  # the 422 itself


def test_a_band_tells_a_truth_value_as_the_form_does(browser, people):
    open_page(browser, f"{people}/#explain")
    wait_for(browser, ".bands .band-dot")

    values = dict(zip(texts(browser, ".band-name"), texts(browser, ".band-ends strong"), strict=True))
    assert values["owner"] == Select(field(browser, "owner")).first_selected_option.text


BANDS = """
const [values, done] = arguments;
Promise.all([import("/page/bands.js"), import("/page/words.js")]).then(([{ bands }, { wording }]) => {
  const schema = { features: [{ name: "x", type: "double", minimum: 0, maximum: 100 }] };
  const counterfactuals = values.map((to) => ({ changes: [{ feature: "x", to }] }));
  const explanation = { rule: { premises: [] }, counterfactuals, feature_importances: {} };
  const drawn = bands(explanation, schema, { x: 50 }, wording(schema));
  document.getElementById("result").replaceChildren(...drawn);
  done([...document.querySelectorAll(".band-change, .band-dot")].map((one) => {
    const { left, right, top, bottom } = one.getBoundingClientRect();
    return [one.innerText, left, right, top, bottom];
  }));
});
"""


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([50.2, 50.1, 49], ["1, 2, 3"]),
        ([0, 60, 1, 99, 100], ["1, 3", "2", "4, 5"]),
        ([40, 44, 48, 52, 56], ["1, 2, 3, 4, 5"]),
        ([10, 40, 70], ["1", "2", "3"]),
    ],
)
def test_numbers_of_changes_never_cover_each_other_or_the_dot(browser, people, width, values, labels):
    browser.set_window_size(width, 900)
    open_page(browser, people)
    boxes = browser.execute_async_script(BANDS, values)
    browser.set_window_size(1280, 900)

    assert [text for text, *_ in boxes[:-1]] == labels
    for i, (_, left, right, top, bottom) in enumerate(boxes):
        for _, other_left, other_right, other_top, other_bottom in boxes[:i]:
            assert right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top


def test_a_counterfactual_can_be_applied_and_undone(browser, people):
    open_page(browser, people)
    fill(browser, "size", "2")
    press(browser, "Explain")
    wait_for(browser, ".bands .band-dot")
    assert wait_for(browser, ".verdict strong").text == "granted"
    before = [value_of(browser, name) for name in ("size", "owner", "job")]
    browser.find_element(By.CSS_SELECTOR, "ol.card > li button").click()
    wait = WebDriverWait(browser, 20, 0.05)
    wait.until(lambda b: texts(b, ".verdict strong") == ["refused"])
    assert [value_of(browser, name) for name in ("size", "owner", "job")] != before
    press(browser, "Undo the change")
    wait.until(lambda b: texts(b, ".verdict strong") == ["granted"])
    assert [value_of(browser, name) for name in ("size", "owner", "job")] == before
    assert not browser.find_element(By.ID, "undo").is_displayed()


def test_a_feature_that_may_not_change_is_in_no_counterfactual(browser, people):
    open_page(browser, people)
    fill(browser, "size", "2")
    browser.find_element(By.CSS_SELECTOR, "#moves summary").click()
    wait_for(browser, ".move")
    rows = browser.find_elements(By.CSS_SELECTOR, ".move")
    (size,) = [row for row in rows if row.text.startswith("size")]
    choices = Select(size.find_element(By.TAG_NAME, "select"))
    assert [one.text for one in choices.options] == [
        *("as usual", "may change", "may not change"),
        *("only up", "only down"),
    ]
    choices.select_by_visible_text("may not change")
    press(browser, "Explain")

    wait_for(browser, ".premises")
    assert not any(change.startswith("size") for change in texts(browser, ".changes li"))
    assert browser.execute_script(LABELLED)


FIRST = """
const done = arguments[1];
const named = (list) => list.map((name) => ({ feature: name }));
import("/page/fields.js").then(({ putFirst }) => {
  const [rule, change] = [["gene 490", "gene 7"], ["gene 7", "gene 490", "gene 499"]];
  const counterfactuals = Array.from({ length: 4 }, () => ({ changes: named(change) }));
  putFirst({ rule: { premises: named(rule) }, counterfactuals, feature_importances: arguments[0] });
  const boxes = [...document.querySelectorAll("#fields .field")].filter((box) => !box.hidden);
  done(boxes.map((box) => box.dataset.name.trim()));
});
"""


def test_what_an_explanation_speaks_of_comes_first(browser, wide):
    open_page(browser, wide)
    shown = browser.execute_async_script(FIRST, {"gene 499": 0.5, "gene 7": 0.3, "gene 3": 0.2})

    # However often each is named; then what mattered without being named.
    assert shown[:4] == ["gene 499", "gene 7", "gene 490", "gene 3"]
    assert len(shown) == 8
    marked = texts(browser, ".field.important label")
    assert marked == ["gene 499", "gene 7", "gene 490"]


def test_a_csv_of_rows_is_answered_as_a_table_that_names_bad_rows(session, people):
    session.get_log("browser")
    open_page(session, people)
    text = 'size;owner;job;note\n2;true;"nurse";a\n-2;false;clerk;b\ntall;true;clerk;c\n'
    session.find_element(By.ID, "csv").send_keys(text)
    press(session, "Predict rows")

    wait_for(session, "#many tbody tr")
    rows = [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in lines_of(session)]
    assert [row[:2] for row in rows] == [["1", "granted"], ["2", "refused"], ["3", ""]]
    assert "tall" in rows[2][4]
    note = session.find_element(By.ID, "many-note").text
    assert note == "2 rows predicted, 1 not. Left out, because they are not features: note."
    session.find_element(By.CSS_SELECTOR, "th [data-column=prediction]").click()
    session.find_element(By.CSS_SELECTOR, "th [data-column=prediction]").click()
    assert lines_of(session)[0].text.startswith("2 refused")
    assert session.find_element(By.CSS_SELECTOR, "th[aria-sort=descending]").text.startswith("prediction")
    lines_of(session)[0].find_element(By.TAG_NAME, "button").click()
    assert wait_for(session, ".verdict strong").text == "refused"
    assert value_of(session, "size") == "-2"
    assert [entry["source"] for entry in session.get_log("browser")] == ["network"]  # the 422 itself


def test_a_row_with_many_faults_names_a_few(session, wide):
    session.get_log("browser")
    open_page(session, wide)
    session.find_element(By.ID, "csv").send_keys("gene 1,gene 2\n1,2\n")
    press(session, "Predict rows")

    wait_for(session, "#many tbody tr")
    problem = lines_of(session)[0].find_elements(By.TAG_NAME, "td")[4].text
    assert problem.count(";") == 3
    assert re.search(r"; and \d+ more$", problem)
    session.get_log("browser")  # the 422 itself


def lines_of(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#many tbody tr")


def test_an_answer_is_told_with_units_and_meanings(browser, told):
    open_page(browser, told)
    fill(browser, "size (cm)", "0.1")
    fill(browser, "sex", "2")
    Select(field(browser, "owner")).select_by_visible_text("owns")
    fill(browser, f"job ({EVIL[:40]})", "nurse")
    press(browser, "Explain")

    assert wait_for(browser, ".verdict strong").text == "y (granted)"
    wait_for(browser, ".premises li")
    assert set(texts(browser, ".shares .name")) >= {"y (granted)", "n (turned down)", "size (cm)"}
    said = " ".join(texts(browser, ".premises li, .changes li"))
    assert "size (cm)" in said
    assert not {"owner is yes", "owner is no", "job is nurse"} & set(texts(browser, ".premises li"))
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main script") == []


def test_the_threshold_of_two_classes_is_marked_and_told(browser, people):
    open_page(browser, people)
    press(browser, "Predict")
    wait_for(browser, ".verdict")

    said = "Line: the threshold. Above 50.0 %, refused is predicted."
    assert said in texts(browser, "#result .quiet")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".share .threshold")) == 2


THRESHOLD = """
const [schema, probabilities, done] = arguments;
import("/page/answer.js").then(({ showAnswer }) => {
  const prediction = Object.keys(probabilities)[0];
  const item = { prediction, probability: probabilities[prediction], probabilities };
  const told = { features: [], model_name: "m", ...schema };
  showAnswer(document.getElementById("result"), { predictions: [item] }, told, 1);
  const rows = [...document.querySelectorAll(".share:has(.threshold)")];
  const left = (row) => row.querySelector(".threshold").style.left;
  done(rows.map((row) => [row.querySelector(".name").innerText, left(row)]));
});
"""


@pytest.mark.parametrize(
    ("classes", "probabilities", "marks"),
    [
        (["no", "yes"], {"no": 0.6, "yes": 0.4}, {"no": "75%", "yes": "25%"}),
        ([10, 9], {"9": 0.6, "10": 0.4}, {"10": "75%", "9": "25%"}),
        ([0.0, 1.0], {"0.0": 0.6, "1.0": 0.4}, {"0.0": "75%", "1.0": "25%"}),
        ([False, True], {"false": 0.6, "true": 0.4}, {"false": "75%", "true": "25%"}),
        (["a", "b", "c"], {"a": 0.6, "b": 0.4, "c": 0.0}, {}),
    ],
)
def test_each_class_has_its_own_side_of_the_threshold(browser, people, classes, probabilities, marks):
    open_page(browser, people)
    schema = {"classes": classes, "threshold": 0.25}
    assert dict(browser.execute_async_script(THRESHOLD, schema, probabilities)) == marks
    assert browser.execute_async_script(THRESHOLD, {"classes": classes}, probabilities) == []


def compared(browser):
    """Sentence and cells of the comparison."""
    box = wait_for(browser, ".compared")
    rows = box.find_elements(By.TAG_NAME, "tr")
    cells = [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in rows]
    return box.find_element(By.TAG_NAME, "p").text, cells


def test_two_models_are_shown_side_by_side_and_their_difference_in_words(browser, versions):
    open_page(browser, versions)
    choice = Select(browser.find_element(By.ID, "other"))
    assert [one.text for one in choice.options] == [
        "no other model",
        "challenger",
    ]  # `other` takes other records
    fill(browser, "size", "0.5")
    choice.select_by_visible_text("challenger")

    said, (head, *rows) = compared(browser)
    assert said == "They differ: champion predicts granted, challenger predicts refused."
    assert head == ["class", "champion", "challenger", "difference"]
    assert [row[0] for row in rows] == ["granted", "refused"]
    assert (rows[0][1].endswith("%, predicted"), rows[1][2].endswith("%, predicted")) == (True, True)
    assert rows[0][3].startswith("\N{MINUS SIGN}")
    assert rows[1][3].startswith("+")
    live = browser.find_element(By.ID, "said").get_attribute("textContent")
    assert live.endswith(said)

    fill(browser, "size", "2")
    WebDriverWait(browser, 20, 0.05).until(lambda b: texts(b, ".compared p") == ["Both predict granted."])
    choice.select_by_visible_text("no other model")
    WebDriverWait(browser, 20, 0.05).until(lambda b: not b.find_elements(By.CSS_SELECTOR, ".compared"))


def test_the_page_of_the_challenger_compares_with_the_champion(browser, versions):
    open_page(browser, f"{versions}/models/challenger")
    fill(browser, "size", "0.5")
    Select(browser.find_element(By.ID, "other")).select_by_visible_text("champion")

    assert compared(browser)[0] == "They differ: challenger predicts refused, champion predicts granted."


def test_one_model_alone_is_not_compared(browser, people):
    open_page(browser, people)

    assert not browser.find_element(By.ID, "other").is_displayed()
