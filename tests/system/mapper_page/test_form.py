"""The form of the mapper's page: values, what if, faults, an application's own words, access, links."""

import json
import subprocess
import sys

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.system.mapper_page.pages import (
    EVIL,
    LABELLED,
    MARKS,
    TOKEN,
    field,
    field_of_filter,
    fill,
    focused,
    open_page,
    press,
    texts,
    value_of,
    wait_for,
)

pytestmark = MARKS


def test_a_filled_form_gives_a_prediction_with_bars(browser, people):
    open_page(browser, people)
    fill(browser, "size", "2")
    fill(browser, "age", "40")
    Select(field(browser, "owner")).select_by_visible_text("yes")
    fill(browser, "job", "nurse")
    press(browser, "Predict")

    assert wait_for(browser, ".verdict strong").text == "granted"
    assert texts(browser, ".share .name") == ["granted", "refused"]
    likely, unlikely = (fill.size["width"] for fill in browser.find_elements(By.CSS_SELECTOR, ".share .fill"))
    assert likely > 10 * unlikely
    shares = [float(text.removesuffix(" %")) for text in texts(browser, ".share .number")]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_another_row_gives_another_prediction(browser, people):
    open_page(browser, people)
    fill(browser, "size", "-2")
    press(browser, "Predict")

    assert wait_for(browser, ".verdict strong").text == "refused"


def test_the_form_starts_with_values_that_the_model_takes_and_goes_back_to_them(browser, people):
    open_page(browser, people)
    first = field(browser, "size").get_attribute("value")
    fill(browser, "size", "9")
    press(browser, "Typical values")

    assert field(browser, "size").get_attribute("value") == first
    press(browser, "Predict")
    wait_for(browser, ".verdict")
    assert texts(browser, ".warnings") == []


def test_the_form_starts_from_a_sample_row_and_predicts_it(browser, people):
    open_page(browser, people)
    typical = [value_of(browser, name) for name in ("size", "age", "owner", "job")]
    choice = Select(browser.find_element(By.ID, "sample"))
    assert [one.text for one in choice.options][:2] == ["typical values", "example 1"]
    samples = json.loads(browser.execute_script("return fetch('/v1/schema').then(a => a.text())"))["samples"]
    choice.select_by_visible_text("example 2")

    wait_for(browser, ".verdict")
    size, age, owner, job = samples[1]
    assert float(value_of(browser, "size")) == size
    assert value_of(browser, "age") == ("" if age is None else str(age))
    assert (value_of(browser, "owner"), value_of(browser, "job")) == (str(owner).lower(), job)
    assert texts(browser, ".warnings") == []
    choice.select_by_visible_text("typical values")
    assert [value_of(browser, name) for name in ("size", "age", "owner", "job")] == typical


def test_a_schema_without_samples_offers_none(browser, unserved):
    open_page(browser, unserved)

    assert not browser.find_element(By.ID, "sample").is_displayed()


def drag(browser, name, to):
    """Move the slider under a field's control, as a pointer does."""
    slider = field(browser, name).find_element(By.XPATH, "../input[@type='range']")
    browser.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
        slider,
        to,
    )


def test_the_prediction_follows_the_form_while_its_values_can_be_right(browser, people):
    open_page(browser, people)
    drag(browser, "size", 3)
    verdict = WebDriverWait(browser, 20, 0.05)
    verdict.until(lambda b: texts(b, ".verdict strong") == ["granted"])
    drag(browser, "size", -3)
    verdict.until(lambda b: texts(b, ".verdict strong") == ["refused"])
    assert float(value_of(browser, "size")) < -2
    field(browser, "size").send_keys(Keys.ARROW_UP)
    assert float(value_of(browser, "size")) > -3

    field(browser, "size").send_keys("x")  # is not asked about, so that nothing is refused
    assert texts(browser, ".fault:not(:empty)") == []


SLOW = """
const real = window.fetch;
let first = true;
window.fetch = async (url, options) => {
  if (first && String(url).endsWith("/v1/predict")) {
    first = false;
    await new Promise((done) => { window.letFirstGo = done; });
    return real(url, { ...options, signal: undefined });
  }
  return real(url, options);
};
"""


def test_an_older_answer_never_comes_after_a_newer_one(browser, people):
    open_page(browser, people)
    browser.execute_script(SLOW)
    drag(browser, "size", 3)
    wait = WebDriverWait(browser, 20, 0.05)
    wait.until(lambda b: b.execute_script("return Boolean(window.letFirstGo)"))
    drag(browser, "size", -3)
    wait.until(lambda b: texts(b, ".verdict strong") == ["refused"])
    browser.execute_script("window.letFirstGo()")
    browser.execute_async_script("fetch('/v1/schema').then(() => setTimeout(arguments[0], 100))")

    assert texts(browser, ".verdict strong") == ["refused"]


def test_unusual_values_are_predicted_with_a_warning_for_each(browser, people):
    open_page(browser, people)
    fill(browser, "size", "1000")
    fill(browser, "job", "<b>spy</b>")
    press(browser, "Predict")

    wait_for(browser, ".warnings")
    warnings = texts(browser, ".warnings li")
    assert [warning.partition(":")[0] for warning in warnings] == ["size", "job"]
    assert "<b>spy</b>" in warnings[1]  # shown, not obeyed


def test_an_empty_field_is_a_missing_value_where_one_is_accepted(browser, people):
    open_page(browser, people)
    field(browser, "age").clear()
    press(browser, "Predict")

    assert wait_for(browser, ".verdict strong").text in ("granted", "refused")


def test_a_wrong_value_is_told_at_its_field(session, people):
    session.get_log("browser")
    open_page(session, people)
    fill(session, "size", "tall")
    fill(session, "age", "40.5")
    press(session, "Predict")

    wait_for(session, ".problem")
    for name, told in (("size", "tall"), ("age", "40.5")):
        control = field(session, name)
        assert control.get_attribute("aria-invalid") == "true"
        fault = session.find_element(By.ID, control.get_attribute("aria-describedby").split()[-1])
        assert told in fault.text
    assert field(session, "job").get_attribute("aria-invalid") is None
    assert focused(session) == field(session, "size")
    assert [entry["source"] for entry in session.get_log("browser")] == ["network"]  # the 422 itself

    fill(session, "size", "1.5")
    fill(session, "age", "40")
    press(session, "Predict")
    wait_for(session, ".verdict")
    assert not session.find_elements(By.CSS_SELECTOR, "[aria-invalid], .fault:not(:empty), .problem")
    assert session.get_log("browser") == []


def test_an_absent_model_server_is_told_in_words(session, unserved):
    open_page(session, unserved)
    press(session, "Predict")

    assert "The model server is not reachable" in wait_for(session, ".problem").text
    assert "http://127.0.0.1:1 cannot be reached" in wait_for(session, ".problem").text
    assert [entry["source"] for entry in session.get_log("browser")] == ["network"]  # the 503 itself


def test_a_mapping_gives_the_form_and_the_answer_its_words(browser, own_words):
    page, _ = own_words
    open_page(browser, page)
    assert texts(browser, "#fields label") == ["length", "house", "born"]
    assert "in cm, of the parcel" in texts(browser, "#fields .quiet")[0]
    fill(browser, "length", "20")
    fill(browser, "house", "own")
    press(browser, "Explain")

    wait_for(browser, ".premises li")
    assert texts(browser, ".own dt") == ["decision", "certainty", "by"]
    decision, certainty, by = texts(browser, ".own dd")
    assert (decision, by) == ("granted", "desk 4")
    assert certainty.endswith(" %")
    assert any("length" in text for text in texts(browser, ".premises li"))
    assert all("gives refused" in text for text in texts(browser, "ol.card > li"))


def test_a_fault_is_told_at_the_mappings_field(session, own_words):
    session.get_log("browser")
    open_page(session, own_words[0])
    fill(session, "house", "castle")
    press(session, "Predict")

    wait_for(session, ".problem")
    assert focused(session) == field(session, "house")
    assert [entry["source"] for entry in session.get_log("browser")] == ["network"]  # the 422 itself


def test_a_class_gives_the_form_its_own_json_schema(browser, own_words):
    _, page = own_words
    open_page(browser, page)
    assert texts(browser, "#fields label") == ["length", "owner", "kind"]
    assert field(browser, "length").get_attribute("value") == "2"
    press(browser, "Explain")

    wait_for(browser, ".premises li")
    assert texts(browser, ".own dd") == ["granted"]
    assert browser.execute_script(LABELLED)


def test_the_form_shows_units_descriptions_and_meanings(browser, told):
    open_page(browser, told)

    assert texts(browser, "#about") == ["Whether it was granted"]
    hints = texts(browser, "#fields .field .quiet")
    assert hints[0].startswith("How long it is, and so on, ")
    assert len(hints[0]) < 200
    assert hints[1].startswith(f"{EVIL}; 1: male, 2: female; 1 to 2")
    assert hints[2] == "owns or rents"
    assert hints[4].startswith("A name that objects of JavaScript have; ")
    full = browser.find_element(By.CSS_SELECTOR, "#fields .field .quiet").get_attribute("title")
    assert len(full) > 300
    assert [option.text for option in Select(field(browser, "owner")).options] == ["owns", "rents"]
    choices = browser.execute_script(
        "const listed = (list) => [...list.options].map((option) => [option.value, option.label]);"
        "return [...document.querySelectorAll('datalist')].map(listed)"
    )
    assert choices == [
        [["1", "male"], ["2", "female"]],
        [["clerk", EVIL], ["nurse", "at a hospital"]],
    ]
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main script") == []
    found = "return document.querySelectorAll('[data-name*=\"objects of javascript\"]').length"
    assert browser.execute_script(found) == 1  # what the filter looks in


def test_dates_have_a_calendar_and_texts_any_words(browser, complaints):
    open_page(browser, complaints)
    assert field(browser, "signup").get_attribute("type") == "date"
    assert field(browser, "signup").get_attribute("value").startswith("202")
    browser.execute_script("arguments[0].value = '2021-05-05'", field(browser, "signup"))
    fill(browser, "seen", "2024-02-01 12:00")
    fill(browser, "comment", "It was LATE, again")
    press(browser, "Explain")

    assert wait_for(browser, ".verdict strong").text == "yes"
    said = texts(browser, ".premises li")
    assert "comment contains “late”" in said or "comment does not contain “nice”" in said


def test_five_hundred_features_are_filtered_by_name_and_ten_classes_compared(browser, wide):
    open_page(browser, wide)
    shown = "return [...document.querySelectorAll('.field')].filter(box => box.checkVisibility()).length"
    assert browser.execute_script(shown) == 8
    assert browser.execute_script("return document.documentElement.scrollHeight") < 2500
    press(browser, "Show all 500 features")
    assert browser.execute_script(shown) == 500
    press(browser, "Show fewer")
    search = field_of_filter(browser)
    search.send_keys("GENE 49" + Keys.ENTER)

    assert browser.execute_script(shown) == 11
    assert texts(browser, "#filter-count") == ["11 of 500 features"]
    assert texts(browser, "#result .verdict") == []  # Enter searches; it does not send the form
    fill(browser, "gene 499", "0.5")
    press(browser, "Predict")
    wait_for(browser, ".verdict")
    assert sorted(texts(browser, ".share .name")) == list("0123456789")
    assert browser.execute_script(LABELLED)


def test_a_few_features_need_no_filter(browser, people):
    open_page(browser, people)

    assert not field_of_filter(browser).is_displayed()


def test_a_request_can_be_copied_as_code_and_the_python_works(browser, people):
    open_page(browser, people)
    fill(browser, "size", "-2")
    browser.find_element(By.CSS_SELECTOR, "#sharing summary").click()
    Select(browser.find_element(By.ID, "language")).select_by_visible_text("Python")
    code = browser.find_element(By.ID, "code").text
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'prediction': 'refused'" in answer
    for language, begins in (("curl", "curl '"), ("JavaScript", "const response = await fetch(")):
        Select(browser.find_element(By.ID, "language")).select_by_visible_text(language)
        assert browser.find_element(By.ID, "code").text.startswith(begins)


def test_a_link_carries_the_row_in_its_fragment(browser, people):
    open_page(browser, people)
    fill(browser, "size", "-2")
    fill(browser, "job", "<b>poet</b>")
    press(browser, "Explain")
    wait_for(browser, ".premises")
    browser.find_element(By.CSS_SELECTOR, "#sharing summary").click()
    Select(browser.find_element(By.ID, "language")).select_by_visible_text("Link")
    link = browser.find_element(By.ID, "code").text
    assert link.startswith(f"{people}/#row=")

    browser.get("about:blank")
    browser.get(link)
    wait_for(browser, ".premises")
    assert (value_of(browser, "size"), value_of(browser, "job")) == ("-2", "<b>poet</b>")
    browser.get("about:blank")
    open_page(browser, f"{people}/#row=%7Bbroken")
    assert texts(browser, ".problem") == []


def test_a_link_can_ask_at_once(browser, people):
    open_page(browser, f"{people}/#explain")

    assert wait_for(browser, ".premises li")


def test_a_token_is_asked_for_where_one_is_needed_and_kept_in_this_tab_only(session, guarded):
    open_page(session, guarded)
    assert not session.find_element(By.ID, "access").is_displayed()
    fill(session, "size", "2")
    press(session, "Predict")
    WebDriverWait(session, 20, 0.05).until(lambda b: focused(b).get_attribute("id") == "token")
    assert session.find_element(By.CSS_SELECTOR, "#access button").accessible_name == "Use this token"
    assert "needs a token" in session.find_element(By.ID, "token-fault").text

    for wrong, said in (("näh", "Enter a token"), ("wrong-0123456789", "does not know the token")):
        token = session.find_element(By.ID, "token")
        token.clear()
        token.send_keys(wrong + Keys.ENTER)
        WebDriverWait(session, 20, 0.05).until(
            lambda b, said=said: said in b.find_element(By.ID, "token-fault").text,
            f"{wrong}: {session.find_element(By.ID, 'token-fault').text} {session.get_log('browser')}",
        )
    session.find_element(By.ID, "token").send_keys(TOKEN + Keys.ENTER)

    assert wait_for(session, ".verdict strong").text == "granted"
    assert not session.find_element(By.ID, "access").is_displayed()
    assert session.find_element(By.ID, "token").get_attribute("value") == ""
    session.refresh()
    wait_for(session, "#fields .field")
    press(session, "Explain")
    wait_for(session, ".premises")
    assert session.execute_script("return [localStorage.length, document.cookie]") == [0, ""]
    press(session, "Forget it")
    press(session, "Predict")
    WebDriverWait(session, 20, 0.05).until(lambda b: b.find_element(By.ID, "access").is_displayed())
    assert session.execute_script("return sessionStorage.length") == 0
    assert session.execute_script(LABELLED)
    session.get("about:blank")
    session.get_log("browser")
