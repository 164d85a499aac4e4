"""One browser, and pages of models of several kinds; each is started by the first test that asks for it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from proto_model.serving.http.hosting import Source
from tests.system.mapper_page.pages import (
    CHROMEDRIVER,
    CHROMIUM,
    EVIL,
    FLAGS,
    TOKEN,
    mapper,
    model_server,
    served_model,
    server_of,
)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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


DICTIONARY = {
    "size": {"description": "How long it is, " + "and so on, " * 30, "unit": "cm"},
    "sex": {"description": EVIL, "decode": {1: "male", 2: "female"}},
    "owner": {"decode": {"true": "owns", "false": "rents"}},
    "job": {"decode": {"clerk": EVIL, "nurse": "at a hospital"}, "unit": EVIL[:40]},
    "constructor": "A name that objects of JavaScript have",
    "loan": {"description": "Whether it was granted", "decode": {"y": "granted", "n": "turned down"}},
}


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """Page of a model with 500 features and ten classes."""
    X = np.random.default_rng(3).normal(size=(200, 500)).round(3)
    frame = pd.DataFrame(X, columns=[f"gene {place}" for place in range(500)])
    frame["kind"] = np.arange(200) % 10
    folder = tmp_path_factory.mktemp("wide")
    with model_server(frame, folder) as url, mapper(url, folder) as page:
        yield page


@pytest.fixture(scope="session")
def unserved(tmp_path_factory):
    """Page of a mapper whose model server is away."""
    folder = tmp_path_factory.mktemp("unserved")
    feature = {"name": "a", "type": "double", "nullable": False, "minimum": 0, "maximum": 1, "median": 0.5}
    schema = {"schema_version": "1.0", "model_name": "tiny", "target": {"name": "t", "type": "long"}}
    (folder / "schema.json").write_text(json.dumps({**schema, "classes": [0, 1], "features": [feature]}))
    with mapper("http://127.0.0.1:1", folder) as page:
        yield page


@pytest.fixture(scope="session")
def guarded(people_server, tmp_path_factory):
    """Page of a mapper that asks for a token."""
    folder, url = people_server
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"page: {TOKEN}\n")
    tokens.chmod(0o600)
    with mapper(url, folder, "--open", "health,docs", "--token-file", str(tokens)) as page:
        yield page


@pytest.fixture(scope="session")
def versions(tmp_path_factory):
    """Page of a champion, a challenger that asks for more, and a model that takes other records."""
    size = np.random.default_rng(3).normal(size=300).round(3)
    flags, sources = [], []
    for name, column, least in (
        ("champion", "size", 0.0),
        ("challenger", "size", 1.0),
        ("other", "height", 0.0),
    ):
        frame = pd.DataFrame({column: size, "loan": np.where(size > least, "granted", "refused")})
        folder = tmp_path_factory.mktemp(name)
        sources.append(Source(served_model(frame, folder), name))
        flags += ["--schema", f"{name}={folder / 'schema.json'}"]
    with server_of(sources) as url, mapper(url, folder, *flags) as page:
        yield page


@pytest.fixture(scope="session")
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
