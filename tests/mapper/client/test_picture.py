"""Pictures of explanations: SVG that any reader takes, and what stands where on it."""

import asyncio
import sys
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapper import AsyncClient, Client
from mapper.client.picture import Picture
from mapper.client.track import LEFT, RIGHT, WIDTH
from mapper.errors import SettingsError
from mapper.mapping.schema import ModelSchema

SVG = "{http://www.w3.org/2000/svg}"
FEATURES = [
    {"name": "mass", "type": "double", "nullable": True, "minimum": 0, "maximum": 10, "median": 4},
    {"name": "ringed", "type": "boolean", "nullable": True, "minimum": 0, "maximum": 1, "median": 0},
    {
        "name": "island",
        "type": "string",
        "nullable": True,
        "categories": ["A", "B", "C", "D"],
        "most_frequent": "A",
    },
    {
        "name": "hatched",
        "type": "date",
        "nullable": True,
        "minimum": "2020-01-01",
        "maximum": "2024-01-01",
        "median": "2022-01-01",
    },
    {"name": "notes", "type": "text", "nullable": True, "terms": ["late"]},
]
SCHEMA = {
    "schema_version": "1.1",
    "model_name": "penguins",
    "target": {"name": "species", "type": "string"},
    "classes": ["x", "y"],
    "features": FEATURES,
    "dictionary": {
        "mass": {"unit": "kg"},
        "island": {"decode": {"A": "Biscoe"}},
        "species": {"decode": {"x": "Adelie"}},
    },
}
RECORD = {"mass": "5", "ringed": "1", "island": "B", "hatched": "2022-01-01", "notes": "late again"}
PREMISES = [
    {"feature": "mass", "above": 2.5, "at_most": 7.5},
    {"feature": "ringed", "in": [True]},
    {"feature": "island", "not_in": ["A"]},
    {"feature": "hatched", "above": "2021-01-01"},
    {"feature": "notes", "contains": "late"},
]


def explanation(premises=PREMISES, changes=(), text="IF mass > 2.5 THEN x", notes=()):
    found = {"changes": list(changes), "prediction": "y", "probability": 0.8, "valid": True, "distance": 1.0}
    return {
        "prediction": "x",
        "probability": 0.75,
        "rule": {"premises": premises, "consequence": "x", "text": text, "precision": 0.98, "coverage": None},
        "counterfactuals": [{**found, "text": "IF mass were 9 THEN y"}] if changes else [],
        "feature_importances": {"mass": 0.9, "ringed": 0.5, "island": 0.3, "hatched": 0.2, "notes": 0.1},
        "fidelity": 0.9,
        "engine": "lore",
        "notes": list(notes),
    }


def draw(record=RECORD, **parts):
    return Picture.of(explanation(**parts), ModelSchema.from_dict(SCHEMA), record)


def root_of(picture):
    return ET.fromstring(picture.svg)


def texts(root):
    return [found.text for found in root.iter(f"{SVG}text")]


def bars(root):
    """Left and right ends of the filled bars, from 0 to 1."""
    found = [bar.attrib for bar in root.iter(f"{SVG}rect") if "fill-opacity" in bar.attrib]
    scale = WIDTH - LEFT - RIGHT
    lows = [(float(bar["x"]) - LEFT) / scale for bar in found]
    return [(low, low + float(bar["width"]) / scale) for low, bar in zip(lows, found, strict=True)]


def dots(root):
    return [(float(dot.get("cx")) - LEFT) / (WIDTH - LEFT - RIGHT) for dot in root.iter(f"{SVG}circle")]


def test_bands_and_dots_stand_where_the_rule_and_the_row_are():
    root = root_of(draw())

    mass, ringed, *island, hatched, notes = bars(root)
    assert mass == pytest.approx((0.25, 0.75), abs=0.01)
    assert ringed == pytest.approx((0.5, 1.0), abs=0.01)
    assert island == [pytest.approx((k / 4, (k + 1) / 4), abs=0.01) for k in (1, 2, 3)]
    assert hatched == pytest.approx((0.25, 1.0), abs=0.01)
    assert notes == pytest.approx((0, 1), abs=0.01)
    assert dots(root) == pytest.approx([0.5, 0.75, 0.375, 0.5, 0.5], abs=0.01)


def test_of_a_list_that_was_too_long_the_rows_own_value_is_known():
    root = root_of(draw(premises=[{"feature": "island", "count": 3, "of": 4}]))

    assert bars(root) == [pytest.approx((0.25, 0.5), abs=0.01)]


def test_names_meanings_and_the_prediction_are_told_in_words():
    told = texts(root_of(draw({**RECORD, "island": "A"})))

    assert told[:2] == [
        "Adelie (75%)",
        "Band: the rule holds (98% right). Dot: the row. Arrows flip the class.",
    ]
    assert {"mass (kg)", "5", "0", "10", "true", "Biscoe", "2022-01-01", "late again"} <= set(told)


def test_an_arrow_leads_to_the_value_that_flips_the_class():
    root = root_of(draw(changes=[{"feature": "mass", "from": 5, "to": 9}]))

    (line, _) = root.iter(f"{SVG}path")
    end = float(line.get("d").partition("H")[2])
    assert (end - LEFT) / (WIDTH - LEFT - RIGHT) == pytest.approx(0.9, abs=0.01)
    assert {"(1) 9", "(1) IF mass were 9 THEN y"} <= set(texts(root))


def test_a_missing_value_is_an_empty_dot():
    root = root_of(draw({"mass": None}))

    assert {dot.get("fill") for dot in root.iter(f"{SVG}circle")} == {"#ffffff"}
    assert texts(root).count("missing") == 5


def test_the_sentences_never_crowd_the_last_band():
    for premises in (PREMISES[:1], PREMISES):
        root = root_of(
            draw(premises=premises, text="IF " + "mass > 2.5 AND " * 40 + "x THEN y", notes=["one"])
        )
        ends = [float(bar.get("y")) for bar in root.iter(f"{SVG}rect") if "y" in bar.attrib]
        sentences = [
            float(found.get("y")) for found in root.iter(f"{SVG}text") if found.get("font-size") == "13"
        ]
        lines = [y for y in sentences if y > max(ends) + 14]
        values = [
            float(found.get("y")) for found in root.iter(f"{SVG}text") if found.get("font-size") == "11"
        ]
        assert min(lines) - max(values) >= 24
        assert len(lines) > 4
        assert max(lines) < float(root.get("height")) - 10


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=300), st.none() | st.text() | st.floats() | st.booleans())
def test_any_text_gives_a_picture_that_is_read_and_runs_nothing(name, sentence, value):
    word = name.encode("utf-8", "replace").decode()
    content = {**SCHEMA, "features": [{**FEATURES[0], "name": word}, *FEATURES[1:]]}
    rule = explanation([{"feature": word, "above": 1.0}], text=sentence or "-")
    picture = Picture.of(
        rule, ModelSchema.from_dict({**content, "dictionary": {}}), {word: value, "notes": value}
    )

    root = root_of(picture)

    assert {part.tag.removeprefix(SVG) for part in root.iter()} <= {
        "svg",
        "title",
        "rect",
        "text",
        "circle",
        "path",
    }


def test_a_notebook_shows_it_and_a_file_keeps_it(tmp_path):
    picture = draw()

    assert picture._repr_html_().startswith("<svg ")
    picture.write(tmp_path / "row.svg")
    assert (tmp_path / "row.svg").read_text() == picture.svg
    for name, said in (("row.gif", "End it in .svg or .png"), ("no/row.svg", "Cannot write")):
        with pytest.raises(SettingsError, match=said):
            picture.write(tmp_path / name)


def test_png_has_two_pixels_for_each_unit(tmp_path):
    pytest.importorskip("resvg_py", reason="pip install resvg-py")
    draw().write(tmp_path / "row.png")

    content = (tmp_path / "row.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == 2 * WIDTH


def test_without_the_library_or_fonts_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(SettingsError, match="pip install 'proto-model-mapper"):
        draw().write(tmp_path / "row.png")

    monkeypatch.setitem(sys.modules, "resvg_py", type("Blank", (), {"svg_to_bytes": lambda **_: b"blank"}))
    with pytest.raises(SettingsError, match="fonts-dejavu-core"):
        draw().write(tmp_path / "row.png")


@pytest.mark.system
def test_the_clients_draw_a_row(service, record):
    async def drawn():
        async with AsyncClient(service.url, max_connections=1) as client:
            return await client.picture(record, parameters={"effort": "fast"})

    with Client(service.url) as client:
        picture = client.picture(record)

    assert {"Gentoo (75%)", "mass > 4.1", "(1) 4"} <= set(texts(root_of(picture)))
    assert asyncio.run(drawn()) == picture
