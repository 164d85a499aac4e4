"""The mapper's page in a real browser, in front of a real forest: Debian's chromium, driven by selenium."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from proto_model.model import Bundle, Predictor, write_bundle
from proto_model.serving.http import ServedModel
from proto_model.serving.http.app import App
from proto_model.serving.http.hosting import Hosted, Hosting, Source
from proto_model.serving.http.metrics import Metrics
from proto_model.serving.http.settings import ServerSettings
from proto_model.table import RawTable, prepare
from proto_model.training import make_pipeline
from proto_model.training.background import StoredBackground
from proto_model.training.dictionary import Document, described
from tests.terminal import START_S

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900"
).split()
ROOT = Path(__file__).parents[2]
LABELLED = (
    "return [...document.querySelectorAll('input:not([aria-hidden]), select, textarea')]"
    ".every(e => e.labels.length === 1)"
)
HOSTS = "return performance.getEntries().filter(e => /^http/.test(e.name)).map(e => new URL(e.name).origin)"

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER),
        reason="no chromium and chromedriver on PATH; on Debian: apt-get install chromium chromium-driver",
    ),
]


@contextmanager
def model_server(frame, folder, dictionary=None):
    """URL of a model server, with a forest fitted on the frame; its schema is `schema.json` in the folder."""
    data = prepare(
        RawTable("table", "table", pa.Table.from_pandas(frame, preserve_index=False)), frame.columns[-1]
    )
    if dictionary is not None:
        data = described(data, Document.of(dictionary))
    pipeline = make_pipeline("random_forest", data.schema, 0, n_estimators=10)
    pipeline.fit(data.X_train, data.y_train)
    bundle, background = folder / "bundle", StoredBackground.of(data)
    write_bundle(bundle, pipeline, background.described(data.schema), background.rows, background.kind)
    shutil.copy(bundle / "schema.json", folder)
    served = ServedModel(Predictor(Bundle.load(bundle)))
    app = App(Hosted(Hosting([Source(served)], ServerSettings())), Metrics())
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, loop="asyncio", lifespan="off", ws="none", log_config=None)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the model server did not start"
            time.sleep(0.02)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        app.close()


@contextmanager
def mapper(model_server_url, folder, *flags):
    """URL of the mapper's page; flags may name other schemas than the folder's."""
    command = [sys.executable, "-m", "mapper", "serve", "--port", "0", "--model-server-url", model_server_url]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAPPER_")}
    log = folder / "mapper.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, *([] if "--schema" in flags else ["--schema", str(folder / "schema.json")]), *flags],
            stderr=stderr,
            cwd=ROOT,
            env=environment,
        )
    try:
        deadline = time.monotonic() + START_S
        while "listening on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield log.read_text().split("listening on ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def people_server(tmp_path_factory):
    """Folder with the schema, and URL, of a model with a feature of each type, two of them nullable."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=300).round(3),
            "age": pd.array(np.where(rng.random(300) < 0.1, None, rng.integers(18, 90, 300)), dtype="Int64"),
            "owner": rng.random(300) < 0.5,
            "job": rng.choice(["clerk", "nurse", "<b>poet</b>"], 300),
        }
    )
    frame["loan"] = np.where(frame["size"] + frame["owner"] > 0.4, "granted", "refused")
    folder = tmp_path_factory.mktemp("people")
    with model_server(frame, folder) as url:
        yield folder, url


@pytest.fixture(scope="module")
def people(people_server):
    """Page of a mapper in front of it."""
    folder, url = people_server
    with mapper(url, folder) as page:
        yield page


MAPPING = """
mapping: 1
units: {cm: {factor: 0.1}, "%": {factor: 1/100}}
request:
  length: {feature: size, unit: cm, text: of the parcel}
  house: {feature: owner, lookup: {own: true, rented: false}}
  born: {type: integer, minimum: 1920, maximum: 2010, example: 1980}
features: {age: {expression: 2026 - born}, job: {value: nurse}}
answer:
  fields: {decision: prediction, certainty: {from: probability, unit: "%", digits: 1}, by: {value: desk 4}}
"""
CODE = """
class Own:
    def __init__(self, model):
        self.model = model

    def form(self):
        record = {
            "type": "object",
            "required": ["length"],
            "properties": {
                "length": {"type": "number", "description": "of the parcel"},
                "owner": {"type": "boolean"},
                "kind": {"enum": ["small", "large"]},
            },
            "examples": [{"length": 2, "owner": True, "kind": "large"}],
        }
        answer = {"type": "object", "properties": {"decision": {"type": "string"}}}
        return {"record": record, "answer": answer}

    def map_request(self, tango_request, session=None):
        given = tango_request["data"]
        if not isinstance(given["length"], int | float) or given["length"] < 0:
            raise ValueError("the length has to be a number above 0")
        record = {"size": given["length"], "owner": given["owner"], "age": None, "job": "nurse"}
        return self.model.map_request({"data": record}, session)

    def map_response(self, response):
        answer = self.model.map_response(response)
        rows = answer["predictions"]
        own = [{"decision": row["prediction"], "why": row.get("explanation")} for row in rows]
        return {**answer, "predictions": own}
"""


@pytest.fixture(scope="module")
def own_words(tmp_path_factory):
    """Pages of one model in the words of a mapping, and in those of a class."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=300).round(3),
            "age": pd.array(np.where(rng.random(300) < 0.1, None, rng.integers(18, 90, 300)), dtype="Int64"),
            "owner": rng.random(300) < 0.5,
            "job": rng.choice(["clerk", "nurse"], 300),
        }
    )
    frame["loan"] = np.where(frame["size"] + frame["owner"] > 0.4, "granted", "refused")
    served, mapped, coded = (tmp_path_factory.mktemp(name) for name in ("served", "mapped", "coded"))
    with model_server(frame, served) as url:
        for folder in (mapped, coded):
            shutil.copy(served / "schema.json", folder)
        (mapped / "mapping.yaml").write_text(MAPPING)
        (coded / "own.py").write_text(CODE)
        (coded / "code.json").write_text(json.dumps({"class": "own:Own", "files": ["own.py"]}))
        with mapper(url, mapped) as page, mapper(url, coded, "--allow-mapper-code") as other:
            yield page, other


EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
DICTIONARY = {
    "size": {"description": "How long it is, " + "and so on, " * 30, "unit": "cm"},
    "sex": {"description": EVIL, "decode": {1: "male", 2: "female"}},
    "owner": {"decode": {"true": "owns", "false": "rents"}},
    "job": {"decode": {"clerk": EVIL, "nurse": "at a hospital"}, "unit": EVIL[:40]},
    "constructor": "A name that objects of JavaScript have",
    "loan": {"description": "Whether it was granted", "decode": {"y": "granted", "n": "turned down"}},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Page of a model with a data dictionary, some of whose texts are HTML."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=300).round(3),
            "sex": rng.integers(1, 3, 300),
            "owner": rng.random(300) < 0.5,
            "job": rng.choice(["clerk", "nurse"], 300),
            "constructor": rng.normal(size=300).round(3),
        }
    )
    score = frame["size"] + frame["owner"] + (frame["sex"] == 2) + (frame["job"] == "nurse")
    frame["loan"] = np.where(score > 1.4, "y", "n")
    folder = tmp_path_factory.mktemp("told")
    with model_server(frame, folder, DICTIONARY) as url, mapper(url, folder) as page:
        yield page


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """Page of a model with a date that may be missing, a time and a text."""
    rng = np.random.default_rng(3)
    seen = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, 300), "s")
    frame = pd.DataFrame(
        {
            "signup": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, 300), "D"),
            "seen": seen,
            "comment": [f"{said} order {i}" for i, said in enumerate(rng.choice(["late", "nice"], 300))],
        }
    )
    frame["churn"] = np.where(frame["comment"].str.startswith("late"), "yes", "no")
    frame.loc[:20, "signup"] = pd.NaT
    folder = tmp_path_factory.mktemp("complaints")
    with model_server(frame, folder) as url, mapper(url, folder) as page:
        yield page


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Page of a model with 500 features and ten classes."""
    X = np.random.default_rng(3).normal(size=(200, 500)).round(3)
    frame = pd.DataFrame(X, columns=[f"gene {place}" for place in range(500)])
    frame["kind"] = np.arange(200) % 10
    folder = tmp_path_factory.mktemp("wide")
    with model_server(frame, folder) as url, mapper(url, folder) as page:
        yield page


@pytest.fixture(scope="module")
def unserved(tmp_path_factory):
    """Page of a mapper whose model server is away."""
    folder = tmp_path_factory.mktemp("unserved")
    feature = {"name": "a", "type": "double", "nullable": False, "minimum": 0, "maximum": 1, "median": 0.5}
    schema = {"schema_version": "1.0", "model_name": "tiny", "target": {"name": "t", "type": "long"}}
    (folder / "schema.json").write_text(json.dumps({**schema, "classes": [0, 1], "features": [feature]}))
    with mapper("http://127.0.0.1:1", folder) as page:
        yield page


TOKEN = "web-page-0123456789"


@pytest.fixture(scope="module")
def guarded(people_server, tmp_path_factory):
    """Page of a mapper that asks for a token."""
    folder, url = people_server
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"page: {TOKEN}\n")
    tokens.chmod(0o600)
    with mapper(url, folder, "--open", "health,docs", "--token-file", str(tokens)) as page:
        yield page


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")  # the driver is at hand; nothing is to be fetched
        driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(session):
    """A browser that shall have nothing to complain of when the test is over."""
    session.get("about:blank")
    session.get_log("browser")
    yield session
    assert session.get_log("browser") == []


def open_page(browser, url):
    browser.get(url)
    wait_for(browser, "#fields .field")


def wait_for(browser, selector):
    """First element that the selector finds, as soon as there is one."""
    return WebDriverWait(browser, 20, 0.05).until(
        lambda b: next(iter(b.find_elements(By.CSS_SELECTOR, selector)), None), f"no {selector}"
    )


def field(browser, name):
    """Control that belongs to the label with that text, as a user finds it."""
    (label,) = browser.find_elements(By.XPATH, f"//label[normalize-space()='{name}']")
    return browser.find_element(By.ID, label.get_attribute("for"))


def fill(browser, name, text):
    control = field(browser, name)
    control.clear()
    control.send_keys(text)


def press(browser, name):
    browser.find_element(By.XPATH, f"//button[normalize-space()='{name}']").click()


def texts(browser, selector):
    """Visible texts, read at once: the page may replace elements between two questions."""
    return browser.execute_script(
        """return [...document.querySelectorAll(arguments[0])].map(
             (one) => one.checkVisibility() ? one.innerText.trim() : "")""",
        selector,
    )


def focused(browser):
    return browser.switch_to.active_element


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


def field_of_filter(browser):
    (label,) = browser.find_elements(By.XPATH, "//label[normalize-space()='Filter features']")
    return label.find_element(By.TAG_NAME, "input")


def test_a_few_features_need_no_filter(browser, people):
    open_page(browser, people)

    assert not field_of_filter(browser).is_displayed()


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


def value_of(browser, name):
    return field(browser, name).get_attribute("value")


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
    assert "tall" in rows[2][3]
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
    problem = lines_of(session)[0].find_elements(By.TAG_NAME, "td")[3].text
    assert problem.count(";") == 3
    assert re.search(r"; and \d+ more$", problem)
    session.get_log("browser")  # the 422 itself


def lines_of(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#many tbody tr")


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


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (768, "dark"), (1280, "light")])
def test_axe_finds_nothing(session, people, width, theme):
    axe = pytest.importorskip("axe_core_python", reason="pip install axe-core-python")
    script = Path(axe.__file__).with_name("axe.min.js").read_text()
    media = [{"name": "prefers-color-scheme", "value": theme}]
    session.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    session.set_window_size(width, 900)
    try:
        open_page(session, people)
        press(session, "Explain")
        wait_for(session, ".bands")
        session.execute_script("document.getElementById('many-rows').open = true")
        session.find_element(By.ID, "csv").send_keys("size,owner,job\n2,true,nurse\ntall,true,nurse\n")
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


def test_a_link_can_ask_at_once(browser, people):
    open_page(browser, f"{people}/#explain")

    assert wait_for(browser, ".premises li")


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


def operate(browser, operation):
    """Have Swagger UI send its example, with the token already given; status that came back.

    By keyboard: what it opens it draws in steps, and a button that moves between its search and a click is
    missed.
    """
    for button in (f"#operations-default-{operation} .opblock-summary-control", ".try-out__btn", ".execute"):
        wait_for(browser, button).send_keys(Keys.ENTER)
    return wait_for(browser, ".live-responses-table .response .response-col_status").text


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


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_comes_from_another_host(browser, people, path):
    browser.get(people + path)
    wait_for(browser, ".field, table")

    assert set(browser.execute_script(HOSTS)) == {people}


def test_a_token_is_asked_for_where_one_is_needed_and_kept_in_this_tab_only(session, guarded):
    open_page(session, guarded)
    assert not session.find_element(By.ID, "access").is_displayed()
    fill(session, "size", "2")
    press(session, "Predict")
    WebDriverWait(session, 20, 0.05).until(lambda b: focused(b).get_attribute("id") == "token")
    assert session.find_element(By.CSS_SELECTOR, "#access button").accessible_name == "Use this token"
    assert "needs a token" in session.find_element(By.ID, "token-fault").text

    for wrong, said in (("näh", "Enter a token"), ("wrong-0123456789", "not known here")):
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


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_long_descriptions_fit_at_every_width(browser, told, width):
    browser.set_window_size(width, 900)
    for path in ("/", "/docs"):
        browser.get(f"{told}{path}")
        wait_for(browser, "#fields .field" if path == "/" else "td")
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) <= 0, path
    browser.set_window_size(1280, 900)
