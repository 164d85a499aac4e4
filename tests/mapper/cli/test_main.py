import json

import pytest

from mapper.cli.main import build_parser, main


def test_a_prediction_by_name_and_value_is_printed_as_a_table(service, capsys):
    assert main(["predict", "--url", service.url, "mass=4.2", "ringed=true", "island=Dream"]) == 0

    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["row", "species", "probability", "p(Adelie)", "p(Gentoo)"]
    assert out[2].split() == ["0", "Gentoo", "0.750", "0.250", "0.750"]


def test_an_explanation_is_printed_readably(service, model_server, capsys):
    options = ["--option", "effort=thorough", "--option", "immutable_features=eggs,ringed"]

    assert main(["explain", "--url", service.url, "mass=4.2", "ringed=0", *options]) == 0

    out = capsys.readouterr().out
    assert "mass > 4.1" in out
    assert "mass 4.2 -> 4.0 gives Adelie" in out
    assert model_server.requests[-1]["params"]["immutable_features"] == ["eggs", "ringed"]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_explanations_are_drawn_one_file_for_each_row(service, tmp_path, capsys, more):
    rows = tmp_path / "rows.csv"
    rows.write_text("mass,ringed\n4.2,0\n5,1\n")
    ask = ["explain", "--url", service.url, *more]

    assert main([*ask, "mass=4.2", "ringed=0", "--picture", str(tmp_path / "one.svg")]) == 0
    assert main([*ask, "--data", str(rows), "--picture", str(tmp_path / "row.svg")]) == 0

    one, first, second = ((tmp_path / name).read_text() for name in ("one.svg", "row-0.svg", "row-1.svg"))
    assert "mass &gt; 4.1" in one
    assert "Row 0: Gentoo (75%)" in first
    assert ("Row 1: ", ">5</text>") == tuple(part for part in ("Row 1: ", ">5</text>") if part in second)
    assert f"wrote {tmp_path / 'row-1.svg'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["predict", "mass=4", "--picture", "a.svg"], "give it with explain"),
        (["explain", "--file", "a.csv", "--picture", "a.svg"], "without --file"),
        (["explain", "mass=4", "--picture", "a.gif"], "End it in .svg or .png"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_asked(given, said, capsys):
    assert main(given) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("direct", [True, False])
def test_a_large_csv_goes_in_chunks_and_comes_out_as_one(
    service, model_server, schema_path, tmp_path, capsysbinary, direct
):
    path = tmp_path / "rows.csv"
    path.write_text("island,mass,ringed,eggs\n" + "".join(f"Emu,{3 + i / 1000},true,\n" for i in range(2500)))
    where = (
        ["--model-server-url", model_server.url, "--schema", str(schema_path)]
        if direct
        else ["--url", service.url]
    )

    assert main(["predict", *where, "--data", str(path), "--json"]) == 0

    answer = json.loads(capsysbinary.readouterr().out)
    assert len(answer["predictions"]) == 2500
    assert answer["warning_count"] == 2500
    assert [len(request["inputs"]["mass"]) for request in model_server.requests] == [1000, 1000, 500]
    assert "eggs" not in model_server.requests[0]["inputs"]


def test_a_cell_of_csv_may_be_a_long_text(service, model_server, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"island,mass,ringed\n{'Emu ' * 50_000},4,true\n")

    assert main(["predict", "--url", service.url, "--data", str(path)]) == 0
    assert model_server.requests[-1]["inputs"]["island"] == ["Emu " * 50_000]


def test_faults_are_counted_from_the_start_of_the_file(service, tmp_path, capsys):
    path = tmp_path / "rows.csv"
    path.write_text("mass,ringed\n" + "4,true\n" * 1500 + "heavy,true\n")

    assert main(["predict", "--url", service.url, "--data", str(path)]) == 2
    assert "row 1500, mass: 'heavy' given, a number expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        '{"mass": 4, "ringed": true}',
        '[{"mass": 4, "ringed": true}]',
        '{"data": [{"mass": 4, "ringed": true}]}',
        '{"columns": ["mass", "ringed"], "rows": [[4, true]]}',
    ],
)
def test_json_is_taken_in_every_form(service, tmp_path, capsys, content):
    path = tmp_path / "rows.json"
    path.write_text(content)

    assert main(["predict", "--url", service.url, "--data", str(path)]) == 0


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["predict", "--url", "http://127.0.0.1:9", "a=1"], 1, "Start one with"),
        (["predict", "--url", "127.0.0.1:9", "a=1"], 2, "Invalid server URL"),
        (["predict"], 2, "name=value"),
        (["predict", "--url", "http://m\u00fcller:1", "a=1"], 2, "Invalid server URL"),
        (["predict", "--url", "http://a..b:1", "a=1"], 2, "Invalid server URL"),
        (["predict", "--model-server-url", "http://127.0.0.1:9", "a=1"], 2, "--schema"),
        (["predict", "--schema", "x.json", "a=1"], 2, "--model-server-url"),
        (["schema", "--schema", "nowhere.json"], 2, "Cannot read"),
        (["schema", "--model", "m@champion"], 2, "registry"),
        (["serve", "--schema", "nowhere.json"], 2, "Cannot read"),
        (["serve", "--port", "99999999"], 2, "65535"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(argv, status, message, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # which holds no store of MLflow

    assert main(argv) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_limit_is_a_positive_number(seconds, capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--timeout-s", seconds, "a=1"])
    assert "above 0 expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("[]", "at least one"),
        ("a,a\n1,2\n", "twice"),
        ("mass,ringed\n1\n", "1 values"),
        ("[1", "Not JSON"),
        ("mass,ringed\n", "at least one"),
    ],
)
def test_data_that_cannot_be_read_is_said_in_a_sentence(service, tmp_path, capsys, content, message):
    path = tmp_path / "rows"
    path.write_text(content)

    assert main(["predict", "--url", service.url, "--data", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_the_schema_is_printed(service, schema_path, schema, capsysbinary):
    assert main(["schema", "--schema", str(schema_path), "--json"]) == 0
    assert json.loads(capsysbinary.readouterr().out) == schema.content

    assert main(["schema", "--url", service.url]) == 0
    assert b"penguins predicts species: Adelie, Gentoo" in capsysbinary.readouterr().out


@pytest.mark.parametrize("command", [[], ["serve"], ["predict"], ["explain"], ["schema"]])
def test_help_teaches_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([*command, "--help"])

    assert caught.value.code == 0
    assert "python -m mapper" in capsys.readouterr().out


def test_wrong_values_are_told_first_missing_fields_in_one_line_and_equal_faults_once(
    service, tmp_path, capsys
):
    path = tmp_path / "rows.csv"
    path.write_text("id,island\n" + "1,Dream\n" * 30)
    assert main(["predict", "--url", service.url, "--data", str(path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "error: The request has 2 faults; nothing was predicted.",
        "  row 0: 2 required fields are missing: mass, ringed",
    ]
    path.write_text("id,mass,ringed\n" + "1,4,true\n" * 30)
    assert main(["predict", "--url", service.url, "--data", str(path)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "warning: row 0, id: no feature of the model; left out (30 rows)"

    assert main(["predict", "--url", service.url, "id=1", "mass=heavy"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[1].startswith("  row 0, mass: 'heavy' given, a number expected")


def test_the_url_of_a_model_server_is_told_from_that_of_a_mapper(service, model_server, schema_path, capsys):
    model_server.answer, model_server.status = {"error_code": "NOT_FOUND", "message": "Nothing"}, 404
    assert main(["predict", "--url", model_server.url, "mass=4"]) == 2
    assert "so it is no mapper service. If it is a model server, give it with" in capsys.readouterr().err

    schema = ["--schema", str(schema_path)]
    assert main(["predict", "--model-server-url", service.url, *schema, "mass=4", "ringed=true"]) == 1
    assert "This is a mapper service, not a model server." in capsys.readouterr().err


def test_help_groups_the_flags_of_the_service(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])

    shown = capsys.readouterr().out
    for title in ("model:", "address:", "access:", "login at the model server:", "limits:"):
        assert f"\n{title}\n" in shown
