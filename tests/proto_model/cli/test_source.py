"""`python -m proto_model source`, typed."""

import json

import pytest

from proto_model.cli.source import main

SOURCE = """
# modelop.init
def begin():
    print("\\x1b[31mhello")

# modelop.score
def action(x):
    yield {"double": 2 * x["n"]}

# modelop.training
def train(df):
    open("outputDir/model.txt", "w").write(str(len(df)))
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "rows.csv").write_text("n\n1\nx\n3\n")
    (tmp_path / "rows.jsonl").write_text('{"n": 1}\n{"m": 1}\n')
    path = tmp_path / "model.py"
    path.write_text(SOURCE)
    return path


def test_outputs_go_to_stdout_and_the_summary_to_stderr(source, capfdbinary):
    code = main(["run", str(source), "--data", str(source.with_name("rows.jsonl"))])

    out, err = capfdbinary.readouterr()
    assert (code, out) == (0, b'{"double": 2}\n')
    assert b"score: 2 records read, 1 output written" in err
    assert b"1 left out: action raised KeyError in line 8: 'n'" in err


def test_a_file_of_outputs_appears_when_all_are_there(source, tmp_path, capsys):
    out = tmp_path / "deep" / "out.jsonl"
    arguments = [
        "run",
        str(source),
        "--data",
        str(source.with_name("rows.jsonl")),
        "--output",
        str(out),
        "--json",
    ]

    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert out.read_text() == '{"double": 2}\n'
    assert (summary["records_in"], summary["records_out"], "records" in summary) == (2, 1, False)
    source.write_text("import os\ndef action(x): os._exit(1)")
    out.unlink()
    assert main(arguments) == 1
    assert list(out.parent.iterdir()) == []


def test_a_training_leaves_its_files(source, tmp_path, capsys):
    data, out = str(source.with_name("rows.csv")), tmp_path / "out"

    assert main(["run", str(source), "--function", "training", "--data", data, "--output-dir", str(out)]) == 0
    assert (out / "model.txt").read_text() == "3"
    assert f"kept: {out / 'model.txt'}" in capsys.readouterr().err


def test_what_a_source_prints_steers_no_terminal(source, capsys):
    source.write_text(SOURCE.replace('2 * x["n"]', "1 / 0"))

    assert main(["run", str(source), "--data", str(source.with_name("rows.jsonl"))]) == 1
    err = capsys.readouterr().err
    assert "\\x1b[31mhello" in err
    assert "error: no record was taken." in err


def test_show_runs_nothing_and_tells_the_identity(source, capsys):
    source.write_text("# modelop.schema.0: in.avsc\n1 / 0\n" + SOURCE)

    assert main(["show", str(source), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["functions"]["score"] == {"name": "action", "line": 9, "spark": False}
    assert facts["schemas"] == {"0": {"file": "in.avsc", "is_there": False}}
    assert main(["show", str(source), "--attachment", str(source.with_name("rows.csv"))]) == 0
    assert facts["digest"] not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.py"], "Cannot read the source"),
        (["run", "{source}"], "score needs data"),
        (["run", "{source}", "--function", "metrics"], "has no metrics function"),
        (["run", "{source}", "--data", "{source}", "--schema-check"], "names no schema"),
        (["run", "{source}", "--data", "{source}"], "data of the kind 'py'"),
        (["run", "{source}", "--attachment", "none.zip", "--data", "x"], "There is no attachment"),
        (["run", "{source}", "--data", "{rows}", "--python", "/no/python"], "Cannot start /no/python"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, said, source, capsys):
    rows = source.with_name("rows.jsonl")

    assert main([one.format(source=source, rows=rows) for one in arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.splitlines()[-1].startswith("error: ")
