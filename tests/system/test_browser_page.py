"""The page of a version in Debian's chromium, opened from disk: for eyes, keyboards and screen readers."""

from __future__ import annotations

import csv
import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from proto_model.deployment.browser.model import model_bytes
from proto_model.deployment.browser.pages import engine_text, index_text
from proto_model.files import FileSettings, score_file
from proto_model.formats import FORMATS, Source
from proto_model.formats.onnx_graph import output_names
from proto_model.formats.onnx_run import feeds
from proto_model.formats.rows import made_rows
from proto_model.model import Predictor, coded_rows
from proto_model.parameters import Parameters
from tests.environments import node_modules
from tests.proto_model.deployment.browser.conftest import bundle_of, everything_decided
from tests.system.mapper_page.pages import CHROMEDRIVER, CHROMIUM, FLAGS, LABELLED, ROOT
from tests.terminal import START_S

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER),
        reason="no chromium and chromedriver on PATH; on Debian: apt-get install chromium chromium-driver",
    ),
]
HOSTILE = '<img src=x onerror="document.title=1">'
READY = "return document.documentElement.dataset.ready === 'true'"


def people(n_rows: int = 500) -> pd.DataFrame:
    """Every kind of column, one with a name and a category that mean harm."""
    rng = np.random.default_rng(2)
    income = rng.lognormal(10, 0.6, n_rows)
    job = rng.choice(np.array(["clerk", "nurse", HOSTILE], dtype=object), n_rows)
    member = rng.random(n_rows) < 0.4
    since = pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3000, n_rows), unit="D")
    notes = [" ".join(rng.choice(["refund", "late", "thanks", "order"], 2)) for _ in range(n_rows)]
    score = np.log(income / 22_000) + member + (job == "nurse") + rng.normal(0, 0.4, n_rows)
    return pd.DataFrame(
        {
            "income": np.where(rng.random(n_rows) < 0.1, np.nan, income),
            "children": rng.integers(0, 5, n_rows),
            "job": job,
            "member": member,
            "since": since.date,
            "note": notes,
            HOSTILE: rng.normal(size=n_rows).round(3),
            "grade": np.where(score > 1.2, "high", np.where(score > 0.3, "middle", "low")),
        }
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("version") / "bundle"
    return bundle_of(people(), folder, n_trees=25, decide=everything_decided)


@pytest.fixture(scope="module")
def page(bundle, tmp_path_factory) -> Path:
    about = {"title": "Version 3 of grades", "model": "grades", "version": "3", "created": ""}
    model = model_bytes(bundle, about)
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(index_text(model, hashlib.sha256(model).hexdigest(), "grades"), encoding="utf-8")
    return path


@contextmanager
def chromium(downloads: Path):
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options, Service(CHROMEDRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    with chromium(downloads) as driver:
        yield driver


def opened(browser, address: str) -> WebDriverWait:
    browser.get_log("performance")
    browser.get(address)
    wait = WebDriverWait(browser, START_S)
    wait.until(lambda page: page.execute_script(READY))
    return wait


@pytest.fixture
def wait(browser, page):
    return opened(browser, page.as_uri())


@contextmanager
def served(
    folder: Path, handler: type[http.server.SimpleHTTPRequestHandler] = http.server.SimpleHTTPRequestHandler
):
    """URL of a static server of a folder."""
    ready = functools.partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ready) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def status(browser) -> str:
    return browser.find_element(By.ID, "status").text


def press(browser, text: str) -> None:
    button = browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()


def control(browser, name: str):
    return browser.find_element(By.XPATH, f"//label[normalize-space()='{name}']/following-sibling::*[1]")


def fill(browser, record: dict) -> None:
    for name, value in record.items():
        found = control(browser, name)
        if found.tag_name == "select":
            Select(found).select_by_value(value)
        else:
            browser.execute_script("arguments[0].value = arguments[1]", found, value)


RECORD = {
    "income": "31000.5", "children": "2", "job": HOSTILE, "member": "true", "since": "2019-05-17",
    "note": "Refund, late!", HOSTILE: "-0.25",
}  # fmt: skip


def requests_made(browser) -> list[str]:
    """Addresses that the browser asked for since the page was opened, but for its own texts."""
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return [url for url in found if not url.startswith(("blob:", "data:"))]


def test_the_page_predicts_and_explains_as_the_server_does_and_asks_no_network(browser, bundle, wait, page):
    predictor = Predictor(bundle)
    parameters = predictor.parameters({"explain": True, "coverage": 0.9})
    [wanted] = predictor.answer(coded_rows([RECORD], bundle.schema), parameters).records()

    fill(browser, RECORD)
    browser.find_element(By.CSS_SELECTOR, "summary").click()
    control(browser, "coverage").send_keys("0.9")
    press(browser, "Explain")
    wait.until(lambda page: "The explanation has a rule" in status(page))

    shown = browser.find_element(By.ID, "result").text
    assert f"grade: {wanted['prediction']} {100 * wanted['probability']:.1f} %" in shown
    explanation = wanted["explanation"]
    n = len(explanation["counterfactuals"])
    assert status(browser).endswith(f"{n} counterfactuals." if n != 1 else "one counterfactual.")
    assert f"precision {100 * explanation['rule']['precision']:.1f} %" in shown
    assert f"Prediction set: {', '.join(wanted['prediction_set'])}" in shown
    items = browser.find_elements(By.CSS_SELECTOR, "ol.card > li")
    for item, flip in zip(items, explanation["counterfactuals"], strict=True):
        for change in flip["changes"]:
            assert change["feature"] in item.text
    assert requests_made(browser) == [page.as_uri()]
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert browser.title == "grades"  # what was in the table stayed text


def test_bad_values_are_told_below_their_fields_in_the_servers_words(browser, bundle, wait):
    fill(browser, {**RECORD, "children": "2.5", "since": "", HOSTILE: "1e999"})
    press(browser, "Predict")
    wait.until(lambda page: "not accepted" in status(page))

    assert status(browser).startswith(
        "3 values are not accepted. children: 2.5 given, a whole number expected"
    )
    assert browser.switch_to.active_element == control(browser, "children")
    wrong = browser.find_elements(By.CSS_SELECTOR, "[aria-invalid=true]")
    assert len(wrong) == 3
    told = [browser.find_element(By.ID, one.get_attribute("id") + "-fault").text for one in wrong]
    assert [text.split(",")[0] for text in told] == ["2.5 given", "no value given", "inf given"]

    fill(browser, RECORD)
    press(browser, "Predict")
    wait.until(lambda page: status(page).startswith("grade: "))
    assert browser.find_elements(By.CSS_SELECTOR, "[aria-invalid=true]") == []


def test_a_file_is_scored_saved_and_equal_to_a_file_job(browser, bundle, wait, tmp_path, downloads):
    given, wanted = tmp_path / "rows.csv", tmp_path / "wanted.csv"
    with given.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(RECORD)
        writer.writerows(list(RECORD.values()) for _ in range(500))
        writer.writerow([1, 2.5, "x", "maybe", "then", "", 3])
    predictor = Predictor(bundle, "file")
    score_file(given, wanted, predictor, Parameters(on_bad_row="mark"), FileSettings())

    browser.find_element(By.ID, "file").send_keys(str(given))
    press(browser, "Score the file")
    wait.until(lambda page: "scored" in status(page))

    assert status(browser) == "rows.csv: 501 rows scored, 1 of them rejected: the column error says why."
    browser.find_element(By.CSS_SELECTOR, "a.save").click()
    saved = downloads / "rows.scored.csv"
    wait.until(lambda page: saved.exists() and saved.stat().st_size == wanted.stat().st_size)
    assert saved.read_bytes() == wanted.read_bytes()


def test_a_file_that_cannot_be_read_is_told_and_the_page_goes_on(browser, wait, tmp_path):
    given = tmp_path / "rows.csv"
    given.write_text("a;b\n1;2\n")
    browser.find_element(By.ID, "file").send_keys(str(given))
    press(browser, "Score the file")
    wait.until(lambda page: "Columns missing in the file" in status(page))

    press(browser, "Predict")
    wait.until(lambda page: status(page).startswith("grade: "))


def test_a_static_server_serves_it_and_is_asked_for_nothing_else(browser, page):
    asked = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    with served(page.parent, Quiet) as address:
        wait = opened(browser, f"{address}/index.html")
        press(browser, "Predict")
        wait.until(lambda page: status(page).startswith("grade: "))
    # Of itself, a browser asks a server for its icon.
    assert [path for path in asked if path != "/favicon.ico"] == ["/index.html"]


def test_a_page_whose_model_was_changed_says_so(browser, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    damaged = tmp_path / "index.html"
    damaged.write_text(text.replace('data-digest="', 'data-digest="0', 1), encoding="utf-8")

    browser.get(damaged.as_uri())
    WebDriverWait(browser, START_S).until(lambda page: "damaged" in status(page))

    assert "its SHA-256 does not fit" in browser.find_element(By.ID, "result").text
    assert not browser.find_element(By.XPATH, "//button[.='Predict']").is_enabled()


def test_all_of_it_works_by_keyboard(browser, wait):
    first = control(browser, "income")
    first.click()
    first.send_keys(Keys.CONTROL, "a")
    first.send_keys("40000", Keys.ENTER)
    wait.until(lambda page: status(page).startswith("grade: "))

    seen = []
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    for _ in range(40):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        seen.append(
            browser.switch_to.active_element.get_attribute("id") or browser.switch_to.active_element.text
        )
    for one in (
        "feature-0",
        "feature-6",
        "Predict",
        "Explain",
        "Options",
        "file",
        "copy",
        "why",
        "Score the file",
    ):
        assert one in seen, one


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (768, "dark"), (1280, "light")])
def test_nothing_is_cut_off_and_nothing_is_wrong_for_a_screen_reader(browser, page, width, theme):
    modules = node_modules("axe", "axe-core@4.14.1")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        wait = opened(browser, page.as_uri())
        press(browser, "Explain")
        wait.until(lambda page: "The explanation has a rule" in status(page))
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.execute_script("return innerWidth") == width
        assert browser.execute_script(LABELLED)
        browser.execute_script((modules / "axe-core/axe.min.js").read_text(encoding="utf-8"))
        found = browser.execute_async_script("axe.run().then(arguments[0])")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []


def test_the_program_of_the_document_answers(bundle, tmp_path):
    text = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    program = re.search(
        r"<!-- test: in tests/system/test_browser_page.py -->\n```bash\n(.*?)```", text, re.DOTALL
    )
    folder = tmp_path / "build" / "page"
    folder.mkdir(parents=True)
    (folder / "engine.mjs").write_text(engine_text(), encoding="utf-8")
    (folder / "model.bin").write_bytes(model_bytes(bundle, {}))

    done = subprocess.run(["bash", "-ec", program[1]], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    label, share, rule = done.stdout.strip().split(" ", 2)
    assert label in bundle.schema.classes
    assert 0 < float(share) <= 1
    assert rule.startswith(("IF ", "ALWAYS "))


ORT = """
const [{ columns, n, label }, done] = arguments;
const read = {
  string: (values) => values,
  float64: (values) => Float64Array.from(values, (value) => value ?? NaN),
  float32: (values) => Float32Array.from(values, (value) => value ?? NaN),
};
(async () => {
  const ort = await import("/modules/onnxruntime-web/dist/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create("/model.onnx");
  const feeds = Object.entries(columns).map(([name, { type, values }]) =>
    [name, new ort.Tensor(type, read[type](values), [n])]);
  const found = await session.run(Object.fromEntries(feeds), [label]);
  return Array.from(found[label].data, String);
})().then(done, (error) => done(`${error}`));
"""


def test_the_onnx_format_gives_the_same_labels_in_onnxruntime_web(browser, tmp_path_factory, tmp_path):
    pytest.importorskip("onnx", reason="The extra proto-model-turbo[formats] is not installed")
    if shutil.which("node") is None:
        pytest.skip("no node on PATH; on Debian: apt-get install nodejs")
    modules = node_modules("onnxruntime-web", "onnxruntime-web@1.30.0")
    bundle = bundle_of(people().drop(columns=["since", "note"]), tmp_path_factory.mktemp("onnx") / "bundle")
    source = Source(bundle)
    rows = made_rows(source, bundle.background)
    columns = {
        name: {"type": "string" if values.dtype == object else str(values.dtype), "values": plain(values)}
        for name, values in feeds(rows).items()
    }
    (tmp_path / "model.onnx").write_bytes(FORMATS["onnx"].write(source))
    (tmp_path / "index.html").write_text("<!doctype html><title>ONNX</title>")
    (tmp_path / "modules").symlink_to(modules)

    with served(tmp_path) as address:
        browser.set_script_timeout(START_S)
        browser.get(address)
        given = {"columns": columns, "n": len(rows), "label": output_names(source)[0]}
        found = browser.execute_async_script(ORT, given)

    wanted, _ = source.answers(rows.matrix)
    assert found == [bundle.schema.classes[place] for place in wanted]


def plain(values: np.ndarray) -> list:
    flat = values.ravel().tolist()
    return [None if value != value else value for value in flat]
