"""The page as a file: small, and allowed to load nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re

import pytest

from proto_model.deployment.browser import pages

LIMIT = 60_000


@pytest.fixture(scope="module")
def page() -> str:
    return pages.index_text(b"a model", hashlib.sha256(b"a model").hexdigest(), "<people> & 'more'")


def test_page_and_code_are_small(page):
    assert len(gzip.compress(page.encode(), 9)) < LIMIT
    assert len(gzip.compress(pages.engine_text().encode(), 9)) < LIMIT


def test_the_policy_allows_what_is_there_by_its_digest_and_loads_nothing(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    scripts = re.findall(r"<script(?: id=\"shared\")?>(.*?)</script>", page, re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [digest(text) for text in scripts]
    assert rules["style-src"] == digest(style)
    assert set(rules) == {"default-src", "script-src", "style-src", "worker-src", "base-uri", "form-action"}
    assert "unsafe" not in policy


def test_nothing_in_the_code_asks_the_network_or_runs_text():
    code = "".join(pages.joined(pages.modules(name)) for name in ("worker", "page", "engine"))

    asking = (
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "sendBeacon",
        "importScripts",
        "import(",
        "http:",
        "https:",
    )
    running = ("eval(", "innerHTML", "insertAdjacentHTML", "document.write", "localStorage")
    for word in (*asking, *running):
        assert word not in code, word


def test_a_name_cannot_leave_its_place_in_the_page(page):
    assert page.count("&lt;people&gt; &amp; &#x27;more&#x27;") == 2
    assert "<people>" not in page


def test_modules_come_before_whoever_needs_them_and_once():
    order = pages.modules("worker")

    assert len(set(order)) == len(order)
    assert order.index("numbers") < order.index("values") < order.index("model") < order.index("worker")


def test_the_same_model_gives_the_same_page(page):
    assert pages.index_text(b"a model", hashlib.sha256(b"a model").hexdigest(), "<people> & 'more'") == page
