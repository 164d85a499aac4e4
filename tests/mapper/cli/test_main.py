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

    assert main(["predict", "--url", service.url, "--data", str(path)]) == 1
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
        (["schema", "--schema", "nowhere.json"], 1, "Cannot read"),
        (["schema", "--model", "m@champion"], 2, "registry"),
        (["serve", "--schema", "nowhere.json"], 1, "Cannot read"),
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

    assert main(["predict", "--url", service.url, "--data", str(path)]) == 1
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
