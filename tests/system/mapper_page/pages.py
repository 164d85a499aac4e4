"""What the tests of the mapper's page share: servers, and how a user finds things on a page."""

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
import uvicorn
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

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


ROOT = Path(__file__).parents[3]


LABELLED = (
    "return [...document.querySelectorAll('input:not([aria-hidden]), select, textarea')]"
    ".every(e => e.labels.length === 1)"
)


HOSTS = "return performance.getEntries().filter(e => /^http/.test(e.name)).map(e => new URL(e.name).origin)"


MARKS = [
    pytest.mark.system,
    pytest.mark.skipif(
        not (CHROMIUM and CHROMEDRIVER),
        reason="no chromium and chromedriver on PATH; on Debian: apt-get install chromium chromium-driver",
    ),
]


def served_model(frame, folder, dictionary=None):
    """A forest fitted on the frame, as a server has it; its schema is `schema.json` in the folder."""
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
    return ServedModel(Predictor(Bundle.load(bundle)))


@contextmanager
def model_server(frame, folder, dictionary=None):
    """URL of a model server of one model, whose schema is `schema.json` in the folder."""
    with server_of([Source(served_model(frame, folder, dictionary))]) as url:
        yield url


@contextmanager
def server_of(sources):
    """URL of a model server."""
    app = App(Hosted(Hosting(sources, ServerSettings())), Metrics())
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


EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


TOKEN = "web-page-0123456789"


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


def value_of(browser, name):
    return field(browser, name).get_attribute("value")


def field_of_filter(browser):
    (label,) = browser.find_elements(By.XPATH, "//label[normalize-space()='Filter features']")
    return label.find_element(By.TAG_NAME, "input")


def operate(browser, operation):
    """Have Swagger UI send its example, with the token already given; status that came back.

    By keyboard: it draws what it opens in steps, and a click misses a button that moves meanwhile.
    """
    for button in (f"#operations-default-{operation} .opblock-summary-control", ".try-out__btn", ".execute"):
        wait_for(browser, button).send_keys(Keys.ENTER)
    return wait_for(browser, ".live-responses-table .response .response-col_status").text
