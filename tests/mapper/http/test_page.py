"""What the page says is in one file; tests/system has the page in a browser."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import mapper.http

PAGE = Path(mapper.http.__file__).parent / "page"
TEXTS = (PAGE / "texts.js").read_text()
# Code for other languages, and what Swagger UI says.
WITHOUT_TEXTS = {"texts.js", "share.js", "docs.js"}
SCRIPTS = sorted(path.name for path in PAGE.glob("*.js") if path.name not in WITHOUT_TEXTS)
WORDS = re.compile("[A-Za-z]{2,} [a-z]{2,}")
CLASSES = {"share strong", "band-ends quiet"}  # of elements


class Texts(HTMLParser):
    """Texts that stand in the page itself, and the names of those that a script fills in."""

    def __init__(self):
        super().__init__()
        self.open, self.own, self.names = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.names |= {value for name, value in attributes if name in ("data-text", "data-label")}
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if data.strip() and not {"noscript", "title"} & set(self.open):
            self.own.append(data.strip())


@pytest.fixture(scope="module")
def html():
    found = Texts()
    found.feed((PAGE / "index.html").read_text())
    return found


def keys(beginning, indent):
    """Names in an object of the file of texts."""
    block = TEXTS.split(beginning, 1)[1].split(f"\n{indent[2:]}}}", 1)[0]
    return set(re.findall(rf"^{indent}(\w+):", block, re.M))


def test_the_html_leaves_its_texts_to_the_file(html):
    assert html.own == []
    assert html.names == keys("  page: {", "    ")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_no_sentence_of_its_own(name):
    code = re.sub(r"(^|\s)//.*|/\[.*?\]/", "", (PAGE / name).read_text())  # comments, patterns
    quoted = re.findall(r"""'(?:[^'\n\\]|\\.)*'|"(?:[^"\n\\]|\\.)*\"""", code)
    prose = {text[1:-1] for text in quoted if WORDS.search(text)}
    prose |= {text for text in re.findall(r"[`}]([^`${}\n;]+)[`$]", code) if WORDS.search(text)}

    assert prose - CLASSES == set()


def test_each_text_is_used_and_each_that_is_used_is_there():
    code = "".join(path.read_text() for path in PAGE.glob("*.js") if path.name != "texts.js")
    used = set(re.findall(r"TEXTS\.(\w+)", code)) | {"language", "page"}

    assert used == keys("export const TEXTS = {", "  ")
    for group in ("range", "premise"):
        assert set(re.findall(rf"TEXTS\.{group}\.(\w+)", code)) == keys(f"  {group}: {{", "    ")
