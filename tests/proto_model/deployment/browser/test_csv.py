"""CSV in the browser's engine: the same output as a file job that marks bad rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from proto_model.errors import InputError
from proto_model.files import FileSettings, score_file
from proto_model.model import Predictor
from proto_model.parameters import Parameters
from tests.proto_model.deployment.browser.test_model import as_json

MARK = Parameters(on_bad_row="mark")


def csv_text(bundle, n_rows: int = 200) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(bundle.schema.feature_names)
    writer.writerows(as_json(bundle, bundle.background[:n_rows]))
    return text.getvalue()


def both(engine, bundle, content: bytes, folder, **options) -> tuple[bytes, bytes, dict]:
    """Output of a file job and of the page."""
    given, wanted, found = folder / "in.csv", folder / "wanted.csv", folder / "found.csv"
    given.write_bytes(content)
    parameters = dataclasses.replace(MARK, **options)
    predictor = Predictor(bundle, "file")
    with predictor.explaining(parameters, 1) as explain:
        score_file(given, wanted, predictor, parameters, FileSettings(), explain=explain)
    passed = {"parameters": {key: value for key, value in options.items() if key != "passthrough"}}
    copied = list(options.get("passthrough", ()))
    counts = engine.ask("score", input=str(given), out=str(found), options={**passed, "copied": copied})
    return wanted.read_bytes(), found.read_bytes(), counts


@pytest.mark.parametrize("name", ["forest_model", "decided", "dated", "many_classes"])
def test_the_output_is_that_of_a_file_job_byte_for_byte(name, engine_of, request, tmp_path):
    bundle = request.getfixturevalue(name)

    wanted, found, counts = both(engine_of(bundle), bundle, csv_text(bundle).encode(), tmp_path)

    assert found == wanted
    assert counts == {"rows": 200, "rejected": 0}


SPOILT = {
    "byte order mark": lambda text: "\ufeff" + text,
    "CR LF": lambda text: text.replace("\n", "\r\n"),
    "no last line end": lambda text: text.rstrip("\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "quotes": lambda text: "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in text.split("\n")[:-1]
    ),
    "spaces": lambda text: text.replace(",", " , "),
    "too large a number": lambda text: text.replace("\n", "\n12,1e999,clerk,true,2\n", 1),
    "fractions": lambda text: text.replace("\n", "\n12.5,1,clerk,true,2.5\n", 1),
    "not a number": lambda text: text.replace("\n", "\n12,many,clerk,maybe,x\n12,1,,,\n", 1),
    "missing markers": lambda text: text.replace("\n", "\nNaN,12,NaN,true,2\n,13,?,FALSE,3\n", 1),
    "ragged": lambda text: text.replace("\n", "\n12,1,clerk\n1,2,3,4,5,6,7\n", 1),
    "lines in a value": lambda text: text.replace("\n", '\n12,1,"cle\nrk",true,2\n', 1),
    "hostile text": lambda text: text.replace("\n", '\n12,1,"<img src=x onerror=alert(1)>",<b>,"=1+1"\n', 1),
    "other columns": lambda text: "\n".join(f"{line},more" for line in text.split("\n")[:-1]) + "\n",
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_wrong_or_odd_is_told_as_a_file_job_tells_it(spoilt, forest_model, engine_of, tmp_path):
    content = SPOILT[spoilt](csv_text(forest_model, 30)).encode()

    wanted, found, counts = both(engine_of(forest_model), forest_model, content, tmp_path)

    assert found.decode() == wanted.decode()
    errors = [row["error"] for row in csv.DictReader(io.StringIO(found.decode()))]
    assert counts == {"rows": len(errors), "rejected": sum(map(bool, errors))}


REFUSED = {
    "empty": b"",
    "only a return": b"a,b\r1,2\r",
    "a column twice": b"age,income,job,owner,children,age\n1,2,clerk,true,1,1\n",
    "columns missing": b"age,job\n1,clerk\n",
    "an open quote": b'age,income,job,owner,children\n1,2,"clerk,true,1\n',
}


@pytest.mark.parametrize("refused", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_in_the_same_words(refused, forest_model, engine_of, tmp_path):
    given = tmp_path / "in.csv"
    given.write_bytes(REFUSED[refused])
    with pytest.raises(InputError) as told:
        score_file(given, tmp_path / "out.csv", Predictor(forest_model, "file"), MARK)

    answer = engine_of(forest_model).told("score", input=str(given), out=str(tmp_path / "found"), options={})

    assert answer == {"error": str(told.value)}


@pytest.mark.parametrize(("sign", "named"), [(";", '";"'), ("\t", "tabs")])
def test_another_separator_than_a_comma_is_named(sign, named, forest_model, engine_of, tmp_path):
    given = tmp_path / "in.csv"
    given.write_text(csv_text(forest_model, 3).replace(",", sign))

    answer = engine_of(forest_model).told("score", input=str(given), out=str(tmp_path / "found"), options={})

    assert "Columns missing in the file: 'income', 'owner', 'children'" in answer["error"]
    assert answer["error"].endswith(f"are its columns separated by {named}? Save it with commas.")


def test_bytes_that_are_no_text_cost_their_row_alone(forest_model, engine_of, tmp_path):
    content = csv_text(forest_model, 3).encode().replace(b"\n", b"\n1,2,cl\xff\xfe,true,1\n", 1)

    wanted, found, counts = both(engine_of(forest_model), forest_model, content, tmp_path)

    assert counts == {"rows": 4, "rejected": 1}
    assert found.decode().splitlines()[2:] == wanted.decode().splitlines()[2:]
    assert found.decode().splitlines()[1] == ',,,,"bytes given that are not UTF-8 text"'


def test_copied_columns_sets_and_explanations_stand_where_a_file_job_puts_them(decided, engine_of, tmp_path):
    content = csv_text(decided, 3).encode()

    wanted, found, _ = both(
        engine_of(decided), decided, content, tmp_path, coverage=0.9, explain=True, passthrough=("job", "age")
    )

    rows = [list(csv.DictReader(io.StringIO(text.decode()))) for text in (wanted, found)]
    told = [[json.loads(row.pop("explanation")) for row in some] for some in rows]
    assert list(rows[0][0]) == list(rows[1][0])
    assert rows[0] == rows[1]
    assert told[0] == told[1]


def test_any_cells_that_a_writer_of_csv_wrote_are_read_as_a_file_job_reads_them(
    forest_model, engine_of, tmp_path
):
    rng = np.random.default_rng(8)
    parts = np.array(
        [*'ab19.e-+, "\n', "\r\n", '""', "NaN", "true", "clerk", "é", "🦊", "\u00a0", "x" * 50], dtype=object
    )
    text = io.StringIO()
    writers = [
        csv.writer(text, lineterminator="\r\n", quoting=kind) for kind in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL)
    ]
    writers[1].writerow(forest_model.schema.feature_names)
    for number in range(400):
        width = 5 if number % 9 else int(rng.integers(1, 8))
        cells = ["".join(rng.choice(parts, rng.integers(0, 4))) for _ in range(width)]
        writers[number % 2].writerow([f"{cells[0]}1", *cells[1:]])

    wanted, found, counts = both(engine_of(forest_model), forest_model, text.getvalue().encode(), tmp_path)

    assert found.decode().split("\n") == wanted.decode().split("\n")
    assert counts["rows"] == 400
