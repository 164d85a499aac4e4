"""Badges that are true, and pictures that say when they were made."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from xml.etree import ElementTree

import proto_model
from scripts import badges, pictures

ROOT = Path(__file__).resolve().parents[1]


def test_the_badges_are_what_the_project_says_of_itself():
    for name, text in badges.badges().items():
        assert (badges.IMAGES / name).read_text(encoding="utf-8") == text, "run python -m scripts.badges"
        ElementTree.fromstring(text)
    assert badges.facts()["version"] == proto_model.__version__


def test_every_picture_of_the_documents_has_a_date_and_is_there():
    shown = {
        name
        for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for name in re.findall(r"images/([\w-]+\.png)", path.read_text(encoding="utf-8"))
    }
    dates = (pictures.IMAGES / pictures.DATES).read_text(encoding="utf-8")

    assert shown
    for name in shown:
        assert (pictures.IMAGES / name).is_file()
        assert re.search(rf"^\| \[{name}\]\({name}\) \| \d{{4}}-\d\d-\d\d \|$", dates, re.MULTILINE)


def test_the_dates_of_other_pictures_stay(tmp_path):
    pictures.write_dates(tmp_path, ["a.png", "b.png"], datetime.date(2026, 1, 2))
    pictures.write_dates(tmp_path, ["b.png"], datetime.date(2026, 3, 4))

    rows = (tmp_path / pictures.DATES).read_text(encoding="utf-8").splitlines()[-2:]
    assert rows == ["| [a.png](a.png) | 2026-01-02 |", "| [b.png](b.png) | 2026-03-04 |"]
