"""The command that runs jobs."""

import json
import os
from pathlib import Path

import pytest

from proto_model.cli.job import main
from tests.proto_model.jobs.conftest import document, external


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters.csv").write_text("id,letter\n1,a\n2,z\n")
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(document(outputData=[external("scored.csv")])))
    return path


def test_a_job_is_run_and_its_outputs_are_listed(job, capsys):
    assert main(["run", "prices.json"]) == 0

    said = capsys.readouterr()
    assert (
        said.out == "records in: 2\nrecords out: 1\nrejected: 1\n" + f"{job.parent}/scored.csv (15 bytes)\n"
    )
    assert said.err == f"COMPLETE: {job.parent}/prices-output/job.json\n"
    assert main(["run", "prices.json"]) == 2
    assert "prices-output is there already. Remove it" in capsys.readouterr().err
    assert main(["run", "prices.json", "--output-dir", "again"]) == 2
    assert "outputData[0].fileUrl: scored.csv is there already." in capsys.readouterr().err
    assert main(["run", "prices.json", "--output-dir", "third", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((job.parent / "third" / "job.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.json"], "Cannot read the job nothing.json: No such file or directory."),
        (["prices.json", "--output-dir", "../out"], "--output-dir: '../out' leads out"),
        (["prices.json", "--output-dir", "letters.csv"], "letters.csv is there already."),
        (
            ["prices.json", "--output-dir", "https://a.example/b"],
            "--output-dir: a presigned URL is of one file.",
        ),
        (["prices.json", "--env", "NO_SUCH_VARIABLE"], "The variable NO_SUCH_VARIABLE is not set"),
        (["prices.json", "--engine", "spark"], "price takes records, not the three lists of files"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_2(job, capsys, arguments, said):
    assert main(["run", *arguments]) == 2

    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert said in err


def test_a_job_that_fails_ends_with_1(job, capsys):
    (job.parent / "letters.csv").write_text("id,letter\n1,z\n")

    assert main(["run", "prices.json"]) == 1

    assert capsys.readouterr().err.startswith("error: Every record was refused")


def test_results_and_data_may_be_in_a_store(job, rclone, monkeypatch, capsys):
    # rclone wants the length of each part, which pyarrow does not send with checksums of its own.
    variables = rclone.credentials | {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    rclone.path("in").mkdir()
    rclone.path("in/letters.csv").write_text("id,letter\n1,a\n")
    bucket = f"s3://{rclone.path('in').parent.name}"
    job.write_text(
        json.dumps(
            document(
                inputData=[external(f"{bucket}/in/letters.csv")],
                outputData=[external(f"{bucket}/job_outputs/a.jsonl")],
            )
        )
    )

    assert main(["run", "prices.json", "--output-dir", f"{bucket}/results"]) == 0, capsys.readouterr().err

    assert json.loads(rclone.path("job_outputs/a.jsonl").read_text()) == {"id": 1, "price": 1.5}
    told = json.loads(rclone.path("results/job.json").read_text())
    assert (told["jobStatus"], told["outputData"][0]["fileSize"]) == ("COMPLETE", 24)
    assert sorted(os.listdir(rclone.path("results"))) == ["job.json", "log.txt"]
