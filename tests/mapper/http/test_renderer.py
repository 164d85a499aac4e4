"""Swagger UI's files, out of a package that may be missing; tests/system has them in a browser."""

import gzip
import sys
import urllib.error
import urllib.request

import pytest

from mapper.http import renderer
from mapper.http.docs import docs_page
from mapper.http.settings import OPEN, MapperSettings

FILES = {"swagger-ui-bundle.js": b"let bundle = 1;", "swagger-ui.css": b".swagger-ui { color: red }"}


@pytest.fixture(autouse=True)
def fresh():
    caches = (renderer.renderer_files, renderer.renderer_version, renderer.compressed)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder on the path with a package like Swagger UI's, which must not be imported."""
    dist = tmp_path / "flask_swagger_ui" / "dist"
    dist.mkdir(parents=True)
    (dist.parent / "__init__.py").write_text("raise AssertionError('imported')")
    for name, content in {**FILES, "other.js": b"secret"}.items():
        (dist / name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def fetch(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_the_files_are_read_without_importing_the_package(installed):
    assert renderer.renderer_files() == FILES
    assert "flask_swagger_ui" not in sys.modules
    assert gzip.decompress(renderer.compressed("swagger-ui.css")) == FILES["swagger-ui.css"]


def test_another_version_has_another_address(installed):
    before = renderer.renderer_version()
    (installed / "flask_swagger_ui/dist/swagger-ui.css").write_bytes(b"other")
    renderer.renderer_files.cache_clear()
    renderer.renderer_version.cache_clear()

    assert before
    assert renderer.renderer_version() not in ("", before)


def test_a_package_without_the_files_is_none(installed):
    (installed / "flask_swagger_ui/dist/swagger-ui.css").unlink()

    assert (renderer.renderer_files(), renderer.renderer_version()) == ({}, "")


def test_without_the_package_the_page_keeps_its_routes_and_says_how_to_install_it(model, monkeypatch):
    monkeypatch.setattr(renderer, "find_spec", lambda name: None)
    assert renderer.renderer_version() == ""

    page = docs_page(model, MapperSettings(), None, "http://mapper", renderer=renderer.renderer_version())
    assert "<code>POST /v1/predict</code>" in page
    assert "pip install &#x27;proto-model-mapper[docs]&#x27;" in page
    assert "<script" not in page


def test_with_the_package_the_page_has_scripts_of_its_own_only(model):
    page = docs_page(model, MapperSettings(token_file="tokens"), None, "http://mapper", renderer="abc")

    assert '<script src="/page/swagger-ui-bundle.js?v=abc" defer></script>' in page
    assert '<div id="operations" data-token>' in page
    assert "<code>POST /v1/predict</code>" in page  # where scripts do not run
    assert "pip install" not in page
    assert page.count("<script") == page.count("<script src=")


def test_the_files_need_a_token_as_the_page_does():
    assert {f"/page/{name}" for name in FILES} < set(OPEN["docs"])


@pytest.mark.system
def test_the_service_gives_the_files_and_nothing_else_of_the_package(
    installed, start_service, model_server, schema_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(installed), prepend=":")
    flags = ("--model-server-url", model_server.url, "--schema", str(schema_path))
    with start_service(*flags) as service:
        address = f"{service.url}/page/swagger-ui-bundle.js"
        status, content, headers = fetch(f"{address}?v=1")
        packed = fetch(address, **{"Accept-Encoding": "gzip, br"})
        others = [fetch(f"{service.url}/page/{name}")[0] for name in ("other.js", "%2e%2e/other.js", "")]
        page = service.call("/docs")[1]
        posted = service.call("/page/swagger-ui-bundle.js", {})

    assert (status, content) == (200, FILES["swagger-ui-bundle.js"])
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert "immutable" in headers["Cache-Control"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed[1]) == FILES["swagger-ui-bundle.js"]
    assert packed[2]["Content-Encoding"] == "gzip"
    assert others == [404] * 3
    assert 'id="operations"' in page
    assert (posted[0], posted[2]["Allow"]) == (405, "GET, HEAD")
