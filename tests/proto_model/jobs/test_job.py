"""What a job.json may say, and where what is wrong with one is told to be."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.jobs import Job, JobError
from tests.proto_model.jobs.conftest import document, external, source

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "job.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ASSETS = "model.storedModel.modelAssets"
PLACES = st.sampled_from(
    [
        ("jobType",), ("model",), ("inputData",), ("outputData",), ("targetEngine",), ("jobParameters",),
        ("model", "storedModel"), ("model", "uri"), ("model", "storedModel", "modelAssets"),
        ("model", "storedModel", "modelMetaData"), ("inputData", 0), ("outputData", 0),
        *(("model", "storedModel", "modelAssets", 0, key)
          for key in ("name", "assetType", "sourceCode", "fileUrl", "filename", "primaryModelSource",
                      "scoreFunction")),
        *((key, 0, inner) for key in ("inputData", "outputData")
          for inner in ("assetType", "fileUrl", "filename", "fileFormat")),
    ]
)  # fmt: skip
VALUES = st.sampled_from([None, True, 5, 1.5, "", "words", "a/b", "..", [], [{}], {}, {"a": "b"}, ["x"]])


def read(**changes) -> Job:
    return Job.of(document(**changes), Path("/somewhere/job.json"))


def with_assets(*assets) -> dict:
    return {"model": {"storedModel": {"modelAssets": list(assets)}}}


def test_a_job_says_what_to_run_on_which_files():
    job = read(targetEngine={"sparkConf": {"spark.executor.memory": "1g"}}, jobParameters={"-v": ""})

    assert (job.function, job.source.filename, job.source.content[:12]) == (
        "score",
        "prices.py",
        b"\nimport json",
    )
    assert [one.filename for one in (*job.secondary, *job.files)] == ["rounding.py", "prices.json"]
    assert job.files[0].content == b'{"a": 3, "b": 4}'
    assert (job.inputs[0].place.path, job.inputs[0].format) == (Path("/somewhere/letters.csv"), "csv")
    assert job.spark_conf == {"-v": "", "spark.executor.memory": "1g"}
    assert job.warnings == ()


def test_null_is_the_same_as_absent_and_other_keys_are_passed_over():
    job = read(_links={"self": {}}, targetEngine=None, jobParameters=None, jobType=None)

    assert (job.function, job.warnings) == ("score", ())


def test_a_key_that_looks_like_a_known_one_is_told():
    changed = document()
    changed["inputdata"] = changed.pop("inputData")
    changed["outputData"][0]["fileUrll"] = "x"

    job = Job.of(changed, Path("/somewhere/job.json"))

    assert job.warnings == ("inputdata is not used. Is inputData meant?",)


WRONG = {
    "no object": ([], "the job: a list given, an object expected."),
    "type": (document(jobType="SCORE"), "jobType 'SCORE' given, one of MODEL_BATCH_JOB, "),
    "no model": (document(model=None), f"{ASSETS} is missing or empty."),
    "no list": (document(inputData={}), "inputData: an object given, a list of objects expected."),
    "no objects": (document(inputData=["a.csv"]), "inputData[0]: text given, an object expected."),
    "too many": (
        document(inputData=[external("a.csv")] * 1001),
        "inputData has 1,001 elements, at most 1,000",
    ),
    "asset type": (
        document(**with_assets(source(assetType="SOURCE"))),
        f"{ASSETS}[0].assetType: 'SOURCE' given",
    ),
    "no content": (document(**with_assets(source(sourceCode=None))), f"{ASSETS}[0].fileUrl is missing."),
    "two contents": (
        document(**with_assets(source(fileUrl="a.py"))),
        f"{ASSETS}[0] has both its content and",
    ),
    "no primary": (
        document(**with_assets(source(primaryModelSource=False))),
        f"{ASSETS} has no primary source.",
    ),
    "two primaries": (
        document(**with_assets(source(), source(name="b.py"))),
        f"{ASSETS}[0] and {ASSETS}[1] both have",
    ),
    "flag": (
        document(**with_assets(source(primaryModelSource="yes"))),
        "primaryModelSource: text given, true or",
    ),
    "function": (
        document(**with_assets(source(scoreFunction="a b"))),
        f"{ASSETS}[0].scoreFunction: 'a b' is no",
    ),
    "path in a name": (
        document(inputData=[external("a.csv", filename="../a.csv")]),
        "inputData[0].filename: '../a.csv' leads out of the folder.",
    ),
    "absolute name": (
        document(inputData=[external("a.csv", filename="/etc/passwd")]),
        "inputData[0].filename: '/etc/passwd' is no",
    ),
    "folder in a name": (
        document(inputData=[external("a.csv", filename="x/a.csv")]),
        "'x/a.csv' leads to another folder.",
    ),
    "path": (
        document(inputData=[external("../a.csv")]),
        "inputData[0].fileUrl: '../a.csv' leads out of the job's",
    ),
    "kind of URL": (
        document(inputData=[external("ftp://a/b")]),
        "inputData[0].fileUrl: 'ftp' is not a kind of URL",
    ),
    "another host's file": (
        document(inputData=[external("file://host/a")]),
        "a file URL names a file of this",
    ),
    "user in a URL": (document(inputData=[external("s3://key:word@b/a")]), "a URL of a store has no user"),
    "endpoint in a URL": (
        document(inputData=[external("s3://b/a?endpoint_override=10.0.0.1")]),
        "a URL of a store has no user",
    ),
    "format": (
        document(inputData=[external("a", fileFormat="C S V")]),
        "inputData[0].fileFormat: 'C S V' given",
    ),
    "base64": (
        document(**with_assets(source(), {"name": "a", "assetType": "FILE", "fileContent": "§"})),
        f"{ASSETS}[1].fileContent is not in base64.",
    ),
    "names twice": (
        document(
            **with_assets(source(), *[{"name": n, "assetType": "FILE", "fileContent": ""} for n in "aA"])
        ),
        "'A' is also written 'a'.",
    ),
    "a name of the runtime": (
        document(**with_assets(source(), external("x", name="OUTPUTDIR", assetType="FILE"))),
        "'OUTPUTDIR' is a name that the runtime uses.",
    ),
    "output on input": (
        document(outputData=[external("./letters.csv")]),
        "outputData[0].fileUrl is also that of inputData[0].",
    ),
    "output on output": (
        document(outputData=[external("a"), external("file:///somewhere/a")]),
        "is also that of outputData[0].",
    ),
    "output on the job": (document(outputData=[external("job.json")]), "is also that of the job job.json."),
    "outputs of one name": (
        document(outputData=[{"name": "a"}, {"name": "a"}]),
        "outputData has names twice: 'a', 'a'.",
    ),
    "two models": (
        document(model={"uri": "models:/a@b", **with_assets(source())["model"]}),
        "model has both uri and",
    ),
    "setting": (
        document(targetEngine={"sparkConf": {"spark.a": []}}),
        "targetEngine.sparkConf['spark.a']: a list given",
    ),
    "line end": (document(jobParameters={"spark.a": "b\nc"}), "jobParameters['spark.a'] has a line end"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_place(case):
    content, said = WRONG[case]

    with pytest.raises(JobError) as raised:
        Job.of(content, Path("/somewhere/job.json"))

    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,\n}', "line 2, column 1: this is not JSON"),
        ('{"a": 1, "a": 2}', "an object has the key 'a' twice."),
        ('{"a": NaN}', "NaN is no number of JSON."),
        ('{"a": 1e999}', "a number is too large."),
        ("[" * 100_000, "nested too deep"),
        ("[" * 200 + "]" * 200, "nested too deep"),
        ("\xff", "not in UTF-8"),
    ],
)
def test_what_is_no_json_is_told(tmp_path, text, said):
    path = tmp_path / "job.json"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(JobError) as raised:
        Job.read(path)

    assert said in str(raised.value)


def test_secrets_of_urls_are_in_no_message_and_no_repr():
    url = "https://store.example/letters.csv?X-Amz-Signature=5ec2e7"
    job = read(inputData=[external(url)])

    assert job.inputs[0].place.text == url
    assert "5ec2e7" not in repr(job)
    with pytest.raises(JobError) as raised:
        read(inputData=[external("https://u:5ec2e7@store.example/letters.csv")])
    assert "5ec2e7" not in str(raised.value)


def test_the_json_schema_takes_what_the_reader_takes():
    for content in (document(), document(model={"uri": "models:/a@b"}), document(jobType=None)):
        VALIDATOR.validate(content)
        Job.of(content, Path("/somewhere/job.json"))


# What the schema has no words for: what several places say together, and what a URL or a text holds.
BEYOND = (
    "path",
    "kind of URL",
    "another host's file",
    "user in a URL",
    "endpoint in a URL",
    "base64",
    "names twice",
    "a name of the runtime",
    "output on input",
    "output on output",
    "output on the job",
    "outputs of one name",
    "no primary",
    "two primaries",
    "two models",
    "line end",
    "function",
)


@pytest.mark.parametrize("case", [case for case in WRONG if case not in BEYOND])
def test_the_json_schema_refuses_what_the_reader_refuses(case):
    assert not VALIDATOR.is_valid(WRONG[case][0])


@given(PLACES, VALUES)
def test_the_reader_takes_nothing_that_the_json_schema_refuses(place, value):
    content = copy.deepcopy(document())
    *path, last = place
    inner = content
    for key in path:
        inner = inner[key]
    inner[last] = value

    try:
        Job.of(content, Path("/somewhere/job.json"))
    except JobError:
        return
    VALIDATOR.validate(content)
