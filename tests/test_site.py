"""The documentation site: built from a copy of the repository, strict about links, and by itself."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mapper.http.problem import PROBLEMS
from mapper.http.settings import MapperSettings
from proto_model.cli.main import COMMANDS
from proto_model.registry.settings import TrainingSettings
from scripts.documents import __main__ as documents
from scripts.documents import reference, stage

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src"}


class _Loads(HTMLParser):
    """What a page loads, and where its links lead."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in LOADED and values.get(LOADED[tag]):
            self.loaded.append(values[LOADED[tag]])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    for path in stage.ROOT.iterdir():
        if path.name not in ("build", ".cache", ".git"):
            (root / path.name).symlink_to(path)
    (root / "mkdocs.yml").unlink()  # the generator works in the folder of the file itself
    shutil.copy(stage.ROOT / "mkdocs.yml", root)
    return documents.build(root)


def test_a_page_loads_nothing_from_elsewhere_and_all_that_it_loads_and_links_to_is_there(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25

    for page in pages:
        if page.name == "404.html":  # its links begin at the root of a web server
            continue
        found = _Loads(page)
        assert not [url for url in found.loaded if "//" in url], page
        for url in [*found.loaded, *found.links]:
            target = re.split("[?#]", url)[0]
            if target and ":" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(site)}: {url}"


def test_the_reference_has_every_entry_of_the_tables():
    pages = reference.pages()

    for command in COMMANDS:
        assert f"usage: python -m proto_model {command} " in pages["reference/commands.md"].replace("\n", " ")
    for setting in dataclasses.fields(TrainingSettings):
        assert f"| `{setting.name}` |" in pages["reference/training.md"]
    for setting in dataclasses.fields(MapperSettings):
        assert f"| `MAPPER_{setting.name.upper()}` |" in pages["reference/settings.md"]
    for kind in PROBLEMS.values():
        assert f"| {kind.status} | `{kind.name}` |" in pages["reference/errors.md"]
    for path in (stage.ROOT / "schemas").glob("*.schema.json"):
        for key in json.loads(path.read_text(encoding="utf-8")).get("properties", {}):
            assert f"| `{key}` |" in pages["reference/schemas.md"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkout with two pages."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text("site_name: Small\nnav:\n  - One: docs/one.md\n\ntheme: {}\n")
    (tmp_path / "docs/one.md").write_text("# One\n")
    return tmp_path


def test_a_page_that_the_menu_lacks_is_named(small, tmp_path):
    (small / "docs/two.md").write_text("# Two\n")

    with pytest.raises(stage.DocumentError, match=r"nav lacks docs/two\.md"):
        stage.stage(tmp_path / "out", small)


def test_a_page_that_is_not_there_is_named(small, tmp_path):
    (small / "docs/one.md").unlink()

    with pytest.raises(stage.DocumentError, match=r"docs/one\.md, which does not exist"):
        stage.stage(tmp_path / "out", small)


def test_a_link_to_a_file_that_is_not_there_is_named_but_code_is_left_alone(small, tmp_path):
    (small / "docs/one.md").write_text("# One\n\n```\n[code](nowhere.json)\n```\n")
    stage.stage(tmp_path / "out", small)

    (small / "docs/one.md").write_text("# One\n\n[gone](../data.json)\n")
    with pytest.raises(stage.DocumentError, match=r"docs/one\.md links to \.\./data\.json"):
        stage.stage(tmp_path / "out", small)


def test_a_link_to_a_folder_leads_to_its_files(small, tmp_path):
    (small / "deploy").mkdir()
    (small / "deploy/a.yaml").write_text("a: 1\n")
    (small / "deploy/.env").write_text("PASSWORD=secret\n")
    (small / "docs/one.md").write_text("# One\n\n[files](../deploy)\n")

    stage.stage(tmp_path / "out", small)

    assert "[files](../deploy/index.md)" in (tmp_path / "out/docs/one.md").read_text()
    assert (tmp_path / "out/deploy/index.md").read_text().endswith("- [a.yaml](a.yaml)\n")
    assert (tmp_path / "out/deploy/a.yaml").read_text() == "a: 1\n"
    assert not (tmp_path / "out/deploy/.env").exists()


def test_a_dead_anchor_ends_the_build(small):
    (small / "docs/one.md").write_text("# One\n\n[gone](#nowhere)\n")
    settings = (stage.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = re.compile(r"^nav:\n(?:[ ].*\n|\n(?=[ ]))+", re.MULTILINE)
    (small / "mkdocs.yml").write_text(nav.sub("nav:\n  - One: docs/one.md\n", settings))

    with pytest.raises(documents.DocumentError, match="anchor does not exist"):
        documents.build(small)


def test_a_page_that_loads_from_elsewhere_is_named(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<script src="https://example.com/a.js"></script>')

    with pytest.raises(documents.DocumentError, match=r"page\.html loads from another host"):
        documents.stay_inside(page, tmp_path)


def test_the_command_explains_itself():
    command = [sys.executable, "-m", "scripts.documents", "--help"]
    said = subprocess.run(command, cwd=stage.ROOT, text=True, capture_output=True, check=True).stdout
    assert "build/site" in said
