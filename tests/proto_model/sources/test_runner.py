"""Anyone's source, run in a process with limits."""

import json
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from proto_model.sources import Limits, Options, Outcome, Source, SourceError, run

LETTERS = """
import json

# modelop.init
def load():
    global prices
    print("loading")
    with open("prices.json") as file:
        prices = json.load(file)

# modelop.score
def price(x):
    yield {"id": x["id"], "price": prices[x["letter"]]}

# modelop.metrics
def metrics(df):
    yield {"rows": len(df), "mean": df.price.mean(), "missing": int(df.price.isna().sum())}

# modelop.training
def train(df):
    with open("outputDir/prices.json", "w") as file:
        json.dump(dict(zip(df.letter, df.price.tolist())), file)
"""

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attachment") / "prices.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prices.json", '{"a": 1.5, "b": 2}')
    return path


def scored(body: str, records=({"k": 1},), **limits) -> Outcome:
    """A score function of one argument `x`, run on records."""
    text = "import os, sys, time, math\n# modelop.score\ndef action(x):\n" + textwrap.indent(body, "    ")
    return run(
        Source.of(text.encode()), "score", records, options=Options(Limits(**{"timeout_s": 60} | limits))
    )


def test_records_are_scored_one_by_one_after_init(prices):
    records = [{"id": 1, "letter": "a"}, {"id": 2, "letter": "z"}, {"id": 3, "letter": "b"}]

    outcome = run(Source.of(LETTERS.encode()), "score", records, attachments=[prices])

    assert outcome.records == [{"id": 1, "price": 1.5}, {"id": 3, "price": 2}]
    assert outcome.rejected == {"price raised KeyError in line 13: 'z'": 1}
    assert (outcome.n_in, outcome.n_out, outcome.first[0][0], outcome.failure) == (3, 2, 2, "")
    assert outcome.log.startswith("loading\n")


def test_a_function_of_all_records_gets_a_data_frame(prices):
    records = [{"letter": "a", "price": 1}, {"letter": "b", "price": None}]

    outcome = run(Source.of(LETTERS.encode()), "metrics", records, attachments=[prices])

    assert outcome.records == [{"rows": 2, "mean": 1.0, "missing": 1}]


def test_what_is_written_to_output_dir_is_kept_and_a_training_needs_no_model(tmp_path):
    records = [{"letter": "a", "price": 7}]

    outcome = run(Source.of(LETTERS.encode()), "training", records, output_dir=tmp_path / "out")

    assert json.loads((tmp_path / "out" / "prices.json").read_text()) == {"a": 7}
    assert outcome.assets == {"prices.json": tmp_path / "out" / "prices.json"}
    assert outcome.is_good
    assert "load raised FileNotFoundError" in outcome.notes[0]
    with pytest.raises(SourceError, match="is there already"):
        run(Source.of(LETTERS.encode()), "training", records, output_dir=tmp_path / "out")


def test_another_attachment_is_another_model(prices, tmp_path):
    other = tmp_path / "prices.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("prices.json", "{}")
    source = Source.of(LETTERS.encode())

    digests = {run(source, "init", attachments=[one]).digest for one in (prices, other, prices)}

    assert len(digests) == 2


@pytest.mark.parametrize(
    ("body", "records"),
    [
        ("return x", [{"k": 1}]),
        ("return None", []),
        ("yield 1\nyield 2", [1, 2]),
        ("return [{'a': 1}, {'a': 2}]", [{"a": 1}, {"a": 2}]),
        ("return [1, 2]", [[1, 2]]),
        ("return (1, 'x', True, None)", [[1, "x", True, None]]),
        ("return {1: math.nan, 'b': [math.inf]}", [{"1": None, "b": [None]}]),
        ("import datetime; return datetime.datetime(2024, 3, 1)", ["2024-03-01T00:00:00"]),
        ("import decimal; return decimal.Decimal('1.5')", [1.5]),
        ("import numpy as np; return {'a': np.float32(1.5), 'b': np.arange(2), 'c': np.bool_(1)}",
         [{"a": 1.5, "b": [0, 1], "c": True}]),
        ("import pandas as pd; return pd.DataFrame([x]).assign(t=pd.NaT)", [{"k": 1, "t": None}]),
    ],
)  # fmt: skip
def test_what_functions_give_becomes_json(body, records):
    outcome = scored(body)

    assert outcome.records == records
    assert outcome.failure == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return {'a': {1}}", "the output['a'] is of type set"),
        ("return object()", "the output is of type object"),
        ("return {(1, 2): 3}", "a key of type tuple"),
        ("a = []; a.append(a); return a", "nested too deep"),
    ],
)
def test_what_json_cannot_hold_is_not_written_and_counted(body, said):
    outcome = scored(body)

    assert outcome.records == []
    assert outcome.n_in == 1
    assert [said in reason for reason in outcome.dropped] == [True]


@pytest.mark.parametrize(
    ("body", "limits", "said"),
    [
        ("sys.exit(3)", {}, "ended its process by sys.exit(3). It was at record 1."),
        ("os._exit(4)", {}, "ended its process with exit status 4"),
        ("os.kill(os.getpid(), 9)", {}, "ended by the signal SIGKILL"),
        ("time.sleep(100)", {"timeout_s": 1}, "did not answer within 1 s"),
        ("while True: pass", {"cpu_s": 1}, "used more CPU time than it may"),
        ("return bytearray(10**10)", {"memory_mb": 2048}, "needs more than 2,048 MB of memory"),
        ("return 'x' * (2 << 20)", {"output_mb": 1}, "gave more than 1 MB at once"),
        ("while True: yield 'x' * 1000", {"output_mb": 1}, "gave more than 1 MB at once"),
        ("os.closerange(3, 100); time.sleep(100)", {}, "The source"),
        (
            "import signal; signal.signal(15, signal.SIG_IGN); time.sleep(100)",
            {"timeout_s": 1},
            "did not answer",
        ),
    ],
)
def test_a_source_that_does_not_answer_ends_with_a_sentence(body, limits, said):
    outcome = scored(body, **limits)

    assert said in outcome.failure
    assert not outcome.is_good


def test_a_source_that_cannot_be_loaded_or_begun_says_where():
    for text, said in (
        (
            "import nosuchlibrary\ndef action(x): pass",
            "cannot be loaded: it raised ModuleNotFoundError in line 1",
        ),
        ("def begin():\n  1 / 0\ndef action(x): pass", "begin raised ZeroDivisionError in line 2"),
        ("def action(x): pass\ndel action", "action raised NameError"),
    ):
        outcome = run(Source.of(text.encode()), "score", [{}])
        assert said in outcome.failure + "".join(outcome.rejected)
        assert not outcome.is_good


def test_what_is_printed_is_no_answer_and_is_kept_in_part():
    body = "print('{\"outputs\": []}'); os.write(1, b'raw'); os.write(2, b'!' * 200_000); return 1"

    outcome = scored(body, log_kb=1)

    assert outcome.records == [1]
    assert "raw" in outcome.log
    assert "bytes not kept" in outcome.log
    assert len(outcome.log) < 2000


def test_processes_of_a_source_end_with_it(tmp_path):
    pid = tmp_path / "pid"
    body = f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                with open({str(pid)!r}, "w") as file:
                    file.write(str(os.getpid()))
                time.sleep(1000)
            os._exit(0)
        while not (os.path.exists({str(pid)!r}) and open({str(pid)!r}).read()):
            time.sleep(0.01)
        return os.getpid()
    """

    outcome = scored(textwrap.dedent(body))

    assert outcome.is_good
    assert is_gone(int(pid.read_text()))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, if perhaps nobody has asked how."""
    stat = Path("/proc", str(pid), "stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_process_that_a_source_forked_does_not_answer():
    assert scored("if os.fork() == 0: return 'child'\nreturn 'parent'", [{}, {}]).records == ["parent"] * 2


def test_secrets_are_not_passed_unless_they_are_named(monkeypatch):
    for name in ("MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "SOME_TOKEN"):
        monkeypatch.setenv(name, "secret")
    source = Source.of(b"import os\ndef action(x): return dict(os.environ)")

    plain = run(source, "score", [{}]).records[0]
    named = run(source, "score", [{}], options=Options(variables=("SOME_TOKEN",))).records[0]

    assert "secret" not in plain.values()
    assert [name for name, value in named.items() if value == "secret"] == ["SOME_TOKEN"]
    with pytest.raises(SourceError, match="NO_SUCH is not set"):
        run(source, "score", [{}], options=Options(variables=("NO_SUCH",)))


def test_the_source_ends_when_its_runner_is_killed(tmp_path):
    pid = tmp_path / "pid"
    text = f"import os, time\ndef action(x): open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(100)"
    program = f"from proto_model.sources import *; run(Source.of({text.encode()!r}), 'score', [1])"
    runner = subprocess.Popen([sys.executable, "-c", program])
    while not (pid.exists() and pid.read_text()):
        assert runner.poll() is None
        time.sleep(0.01)
    runner.kill()
    runner.wait()

    while not is_gone(int(pid.read_text())):
        time.sleep(0.01)


@pytest.mark.parametrize("body", ["os.symlink('/etc/passwd', 'outputDir/x')", "os.mkfifo('outputDir/x')"])
def test_only_plain_files_are_kept(body, tmp_path):
    text = f"import os\ndef train(df): {body}"

    outcome = run(Source.of(text.encode()), "training", [{}], output_dir=tmp_path / "out")

    assert "'x' in outputDir, which is no plain file" in outcome.failure
    assert not (tmp_path / "out").exists()


def test_a_file_that_grows_too_large_is_a_fault_of_the_source(tmp_path):
    text = "def train(df):\n  with open('outputDir/x', 'wb') as f: f.write(bytes(3 << 20))"

    outcome = run(
        Source.of(text.encode()),
        "training",
        [{}],
        output_dir=tmp_path / "o",
        options=Options(Limits(output_mb=2)),
    )

    assert "train raised OSError" in outcome.failure


def test_what_cannot_be_run_is_told_before_anything_runs(tmp_path):
    spark = Source.of(b"def action(a, b, c): pass")
    plain = Source.of(b"def action(a): pass")
    for source, function, data, said in (
        (spark, "score", [], "it is for Spark"),
        (plain, "train", [], "one of init, score"),
        (plain, "metrics", [], "has no metrics function"),
        (plain, "score", None, "needs data"),
        (plain, "score", tmp_path / "none.csv", "There is no file"),
    ):
        with pytest.raises(SourceError, match=said):
            run(source, function, data)


def test_records_and_outputs_that_their_schemas_refuse_are_left_out(tmp_path):
    pytest.importorskip("fastavro")
    fields = [{"name": "n", "type": "long"}]
    for name, one in (("in.avsc", fields), ("out.avsc", [{"name": "r", "type": "double"}])):
        (tmp_path / name).write_text(json.dumps({"type": "record", "name": "A", "fields": one}))
    path = tmp_path / "a.py"
    path.write_text(
        "# modelop.schema.0: in.avsc\n# modelop.schema.1: out.avsc\n"
        "def action(x): yield {'r': 1 / x['n'] if x['n'] != 5 else 'five'}\n"
        "def metrics(df): yield {'n': len(df)}\n"
    )
    records = [{"n": 1}, {"n": "1"}, {}, {"n": 5}, {"n": 0}]

    source, checked = Source.read(path), Options(schema_check=True)
    outcome = run(source, "score", records, options=checked)
    counted = run(source, "metrics", records, options=checked)
    unchecked = run(source, "metrics", records)

    assert outcome.records == [{"r": 1.0}]
    assert outcome.rejected == {
        "'n' is text, long expected": 1,
        "'n' is missing, long expected": 1,
        "action raised ZeroDivisionError in line 3: division by zero": 1,
    }
    assert outcome.dropped == {"output: 'r' is text, double expected": 1}
    assert (counted.records, unchecked.records) == ([{"n": 3}], [{"n": 5}])


def test_schemas_that_are_not_there_are_told(tmp_path):
    for text, said in (
        (b"def action(x): pass", "names no schema"),
        (b"# modelop.schema.0: in.avsc\ndef action(x): pass", "There is no schema in.avsc"),
    ):
        with pytest.raises(SourceError, match=said):
            run(Source.of(text, folder=tmp_path), "score", [{}], options=Options(schema_check=True))


def test_reasons_are_counted_without_end_but_not_kept():
    outcome = scored("raise ValueError(x)", range(80))

    assert outcome.rejected.total() == 80
    assert outcome.rejected["other reasons"] == 30
    assert not outcome.is_good
