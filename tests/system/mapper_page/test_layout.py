"""The mapper's page for every width, theme and keyboard, and its documentation."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.system.mapper_page.pages import (
    HOSTS,
    LABELLED,
    MARKS,
    ROOT,
    TOKEN,
    field,
    field_of_filter,
    focused,
    mapper,
    open_page,
    operate,
    press,
    texts,
    wait_for,
)

pytestmark = MARKS


def test_the_keyboard_is_enough(browser, people):
    open_page(browser, people)
    field(browser, "size").send_keys(Keys.CONTROL + "a")
    focused(browser).send_keys("-2" + Keys.TAB * 3)
    assert focused(browser) == field(browser, "job")
    focused(browser).send_keys(Keys.TAB)
    assert focused(browser).text == "Predict"
    focused(browser).send_keys(Keys.TAB)
    focused(browser).send_keys(Keys.SPACE)

    wait_for(browser, ".premises")
    assert focused(browser).text == "Explain"  # and from there on
    field(browser, "size").send_keys(Keys.ENTER)
    WebDriverWait(browser, 20, 0.05).until(lambda b: not b.find_elements(By.CSS_SELECTOR, ".premises"))
    assert wait_for(browser, ".verdict strong").text == "refused"


def test_every_control_has_a_label_and_the_answer_is_announced(browser, people):
    open_page(browser, people)

    assert browser.execute_script(LABELLED)
    press(browser, "Predict")
    wait_for(browser, ".verdict")
    live = browser.find_elements(By.CSS_SELECTOR, "[aria-live], [role=status], [role=alert]")
    assert [one.get_attribute("textContent").count(".") >= 1 for one in live] == [True]  # one sentence, once
    assert live[0].get_attribute("textContent").startswith("loan: ")
    buttons = [button for button in browser.find_elements(By.TAG_NAME, "button") if button.is_displayed()]
    assert {button.text for button in buttons} == {"Predict", "Explain", "Typical values", "Predict rows"}
    assert all(button.accessible_name for button in buttons)
    assert field(browser, "age").accessible_name == "age"


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_pages_with_own_words_fit_every_width(browser, own_words, width):
    for page in own_words:
        browser.set_window_size(width, 900)
        open_page(browser, page)
        press(browser, "Explain")
        wait_for(browser, ".premises li")
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) <= 0
    browser.set_window_size(1280, 900)


def test_on_a_telephone_nothing_sticks_out_and_the_answer_comes_into_view(browser, wide):
    metrics = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for path in ("/docs", "/"):
            browser.get(wide + path)
            wait_for(browser, "table, .field")
            assert browser.execute_script("return document.documentElement.scrollWidth") == 400
        field_of_filter(browser).send_keys("gene 1")
        press(browser, "Predict")
        wait_for(browser, ".verdict")
        top = "return document.querySelector('.verdict').getBoundingClientRect().top"
        WebDriverWait(browser, 5, 0.05).until(lambda b: 0 <= b.execute_script(top) < 400)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


TOP = """
const box = arguments[0].getBoundingClientRect();
const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
return found === arguments[0] || arguments[0].contains(found);
"""


def test_nothing_covers_a_button_and_an_explanation_moves_none(browser, wide):
    open_page(browser, wide)
    place = "return document.querySelector('#many-form button').getBoundingClientRect().y + scrollY"
    before = browser.execute_script(place)
    press(browser, "Explain")
    wait_for(browser, ".premises, .note")

    assert browser.execute_script(place) == pytest.approx(before, abs=2)
    for button in browser.find_elements(By.TAG_NAME, "button"):
        if button.is_displayed():
            browser.execute_script("arguments[0].scrollIntoView({ block: 'nearest' })", button)
            assert browser.execute_script(TOP, button), button.text


SHIFTS = """
const done = arguments[0];
new PerformanceObserver((list) => done(list.getEntries().map(({ value }) => value)))
  .observe({ type: "layout-shift", buffered: true });
setTimeout(() => done([]), 300);
"""


def test_the_page_is_drawn_once_when_it_is_opened(browser, wide):
    open_page(browser, wide)

    assert sum(browser.execute_async_script(SHIFTS)) < 0.01


SMALL = """
const targets = "button, summary, select, textarea, input:not([type=file])";
return [...document.querySelectorAll(targets)].filter((one) => one.checkVisibility()).filter((one) => {
  const { width, height } = one.getBoundingClientRect();
  return Math.min(width, height) < 24;
}).map((one) => one.outerHTML.slice(0, 80));
"""


@pytest.mark.parametrize("fixture", ["people", "wide"])
def test_a_telephone_shows_the_answer_without_long_scrolling(browser, request, fixture):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(browser, request.getfixturevalue(fixture))
        height = "return document.documentElement.scrollHeight"
        assert browser.execute_script(height) < 1700
        press(browser, "Explain")
        wait_for(browser, ".premises, .note")
        assert browser.execute_script(height) < 3500
        assert browser.execute_script(SMALL) == []
        browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        assert browser.execute_script(SMALL) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_long_descriptions_fit_at_every_width(browser, told, width):
    browser.set_window_size(width, 900)
    for path in ("/", "/docs"):
        browser.get(f"{told}{path}")
        wait_for(browser, "#fields .field" if path == "/" else "td")
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) <= 0, path
    browser.set_window_size(1280, 900)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_axe_finds_nothing(session, versions, width, theme):
    axe = pytest.importorskip("axe_core_python", reason="pip install axe-core-python")
    script = Path(axe.__file__).with_name("axe.min.js").read_text()
    media = [{"name": "prefers-color-scheme", "value": theme}]
    session.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    session.set_window_size(width, 900)
    try:
        open_page(session, versions)
        Select(session.find_element(By.ID, "other")).select_by_visible_text("challenger")
        wait_for(session, ".compared")
        press(session, "Explain")
        wait_for(session, ".bands")
        session.execute_script("document.getElementById('many-rows').open = true")
        session.find_element(By.ID, "csv").send_keys("size\n2\ntall\n")
        session.execute_script("document.querySelector('#many-form button').click()")
        wait_for(session, "#many tbody tr")
        session.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        session.execute_script(script)
        found = session.execute_async_script("axe.run().then(arguments[0])")
    finally:
        session.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        session.set_window_size(1280, 900)
        session.get("about:blank")
        session.get_log("browser")

    assert [(fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found["violations"]] == []
    assert len(found["passes"]) > 30


def test_the_page_is_small(people):
    page = ROOT / "mapper" / "http" / "page"
    assert sum(path.stat().st_size for path in page.iterdir()) <= 120_000


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_comes_from_another_host(browser, people, path):
    browser.get(people + path)
    wait_for(browser, ".field, table")

    assert set(browser.execute_script(HOSTS)) == {people}


def test_the_documentation_tells_features_and_leads_back_to_the_page(browser, people):
    browser.get(f"{people}/docs")

    assert {"size", "age", "owner", "job"} <= set(texts(browser, "td:first-child code"))
    assert texts(browser, "main > pre")[0].startswith(f"curl {people}/v1/predict")
    browser.find_element(By.LINK_TEXT, "Try it").click()
    wait_for(browser, "#fields .field")
    assert "Try" in browser.title


renderer = pytest.mark.skipif(
    find_spec("flask_swagger_ui") is None, reason="no Swagger UI; pip install 'proto-model-mapper[docs]'"
)


@renderer
@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light")])
def test_the_documentation_renders_openapi_offline_and_tries_it(browser, people, width, theme):
    """That the browser complains of nothing means that the content security policy is kept, too."""
    media = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.set_window_size(width, 900)
    try:
        browser.get(f"{people}/docs")
        wait_for(browser, "#operations .opblock")
        described = json.loads(browser.execute_script("return fetch('openapi.json').then(a => a.text())"))
        assert texts(browser, ".opblock-summary-path") == list(described["paths"])
        assert operate(browser, "predict") == "200"
        assert '"prediction"' in browser.find_element(By.CSS_SELECTOR, ".live-responses-table").text
        assert set(browser.execute_script(HOSTS)) == {people}
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) <= 0
        is_dark = "return document.documentElement.classList.contains('dark-mode')"
        assert browser.execute_script(is_dark) == (theme == "dark")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.set_window_size(1280, 900)


@renderer
def test_the_documentation_of_an_error_is_in_view_although_the_routes_are_rendered(browser, people):
    browser.get(f"{people}/docs#busy")
    wait_for(browser, "#operations .opblock")

    top = "return document.getElementById('busy').getBoundingClientRect().top"
    WebDriverWait(browser, 5, 0.05).until(lambda b: 0 <= b.execute_script(top) < 900)


@renderer
def test_the_rendered_routes_take_a_token(browser, guarded):
    browser.get(f"{guarded}/docs")
    wait_for(browser, ".authorize").click()
    wait_for(browser, ".modal-ux input").send_keys(TOKEN)
    wait_for(browser, ".modal-ux button.authorize").click()
    wait_for(browser, ".modal-ux .close-modal").click()

    assert operate(browser, "predict") == "200"


@pytest.mark.parametrize("end", ["", "/"])
def test_the_page_of_one_of_several_models_asks_that_model(session, people_server, tmp_path, end):
    folder, url = people_server
    schema = json.loads((folder / "schema.json").read_text())
    (tmp_path / "schema.json").write_text(json.dumps(schema | {"model_name": "another"}))
    flags = ["--schema", f"a={folder / 'schema.json'}", "--schema", f"b={tmp_path / 'schema.json'}"]
    with mapper(url, tmp_path, *flags) as page:
        open_page(session, f"{page}/models/b{end}")

        assert session.title == "Try another"
        links = [link.get_attribute("href") for link in session.find_elements(By.CSS_SELECTOR, "nav a")]
        assert links == [f"{page}/models/b/{name}" for name in ("docs", "openapi.json", "v1/schema")]
        session.get(links[0])
        links = [link.get_attribute("href") for link in session.find_elements(By.CSS_SELECTOR, "nav a")]
        assert links == [f"{page}/models/b/{name}" for name in ("", "openapi.json", "v1/schema")]
        if find_spec("flask_swagger_ui"):
            operate(session, "schema")
            shown = session.find_element(By.CSS_SELECTOR, ".request-url pre").text
            assert shown == f"{page}/models/b/v1/schema"
    session.get("about:blank")
    session.get_log("browser")
