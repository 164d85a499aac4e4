"""What spark-submit is given; Spark itself runs in test_spark.py."""

import runpy
from pathlib import Path

import pytest

from proto_model.files.transfer import FileSettings
from proto_model.jobs import Job, JobError, JobOptions
from proto_model.jobs.spark_folder import SparkFolder, write_folder
from proto_model.jobs.spark_submit import command, master_of, program_of
from proto_model.jobs.transport import Transport
from proto_model.sources import Source
from tests.proto_model.jobs.conftest import SPARK, document, external, source

FOREST = external("hdfs:///models/forest", filename="forest", assetRole="TRAINED")
HELPER = {
    "name": "helper.py",
    "assetType": "SOURCE_CODE",
    "primaryModelSource": False,
    "sourceCode": "one = 1\n",
}
NOTE = {"name": "note.avsc", "assetType": "FILE", "fileContent": "e30="}
STRANGE = external("hdfs:///in/test.csv", fileFormat="CSV", note="'''\"\n\\ §", size=[1, None, True])
OUT = external("/hadoop/out.csv", fileFormat="CSV")


def spark_job(path: Path, **changes) -> Job:
    content = {
        "model": {"storedModel": {"modelAssets": [source(SPARK), HELPER, NOTE, FOREST]}},
        "inputData": [STRANGE],
        "outputData": [OUT],
        **changes,
    }
    return Job.of(document(**content), path / "job.json")


def folder_of(path: Path, *, is_local: bool = True, **changes) -> SparkFolder:
    job = spark_job(path, **changes)
    work = path / "work" / "spark"
    work.mkdir(parents=True)
    read = Source.of(job.source.content)
    transport = Transport(FileSettings(), 60)
    return write_folder(job, read, transport, work, kept=path / "out", is_local=is_local)


def test_the_working_directory_holds_what_modelop_names(tmp_path):
    folder = folder_of(tmp_path)

    assert sorted(one.name for one in folder.path.iterdir()) == [
        "ModelOpPySparkDriver.py", "helper.py", "model_job_metadata.py", "model_source_code.py", "note.avsc",
        "outputDir",
    ]  # fmt: skip
    assert (folder.path / "model_source_code.py").read_text() == SPARK
    metadata = runpy.run_path(str(folder.path / "model_job_metadata.py"))
    assert {name: value for name, value in metadata.items() if not name.startswith("__")} == {
        "job_input": [STRANGE],
        "job_output": [OUT],
        "job_model_assets_input": [FOREST],
        "method_to_be_executed": "copy",
        "init_to_be_executed": "begin",
    }
    assert folder.python_files == ("model_source_code.py", "model_job_metadata.py", "helper.py")
    assert folder.shipped == (*folder.python_files, "note.avsc")


def test_paths_that_start_at_the_job_become_absolute(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("")
    changes = {"inputData": [external("rows.csv")], "outputData": [external("out"), {"name": "unplaced"}]}
    (tmp_path / "other").mkdir()

    metadata = runpy.run_path(str(folder_of(tmp_path, **changes).path / "model_job_metadata.py"))

    assert [one["fileUrl"] for one in metadata["job_input"]] == [str(tmp_path / "rows.csv")]
    assert [one["fileUrl"] for one in metadata["job_output"]] == [
        str(tmp_path / "out"), str(tmp_path / "out" / "unplaced")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "is_local", "said"),
    [
        ({"inputData": [external("nothing.csv")]}, True, "inputData[0].fileUrl: nothing.csv does not exist."),
        ({"inputData": [external("https://a.example/b")]}, False, "a cluster cannot open presigned URLs."),
        ({"outputData": [external("https://a.example/b")]}, True, "Spark cannot write to a presigned URL."),
        (
            {"outputData": [{"name": "a"}]},
            False,
            "outputData[0].fileUrl is missing. Say where Spark is to write.",
        ),
    ],
)
def test_what_spark_cannot_reach_is_told(tmp_path, changes, is_local, said):
    with pytest.raises(JobError) as raised:
        folder_of(tmp_path, is_local=is_local, **changes)

    assert said in str(raised.value)


def test_the_command_holds_settings_flags_and_files(tmp_path):
    conf = {"--master": "yarn", "spark.executor.memory": "1g"}
    job = spark_job(
        tmp_path, targetEngine={"sparkConf": conf}, jobParameters={"--executor-cores": 2, "-v": ""}
    )
    folder = SparkFolder(tmp_path, ("a.py", "b.avsc"), ("a.py",))

    given = command(job, folder, master_of(job, JobOptions()), "spark-submit")

    assert given == [
        "spark-submit", "--master", "yarn", "--name", "prices.py", "--conf", "spark.log.level=WARN",
        "--executor-cores", "2", "--verbose", "--conf", "spark.executor.memory=1g",
        "--py-files", "a.py", "--files", "a.py,b.avsc", "ModelOpPySparkDriver.py",
    ]  # fmt: skip
    assert master_of(job, JobOptions(master="local[2]")) == "local[2]"


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"--class": "Evil"}, "targetEngine.sparkConf['--class'] is not passed on to spark-submit."),
        ({"spark.submit.deployMode": "cluster"}, "deploy mode 'cluster' leaves outputDir on the cluster."),
        ({"--master": "--class"}, "The master '--class' is none of Spark's."),
    ],
)
def test_settings_that_are_not_taken_are_told(tmp_path, conf, said):
    job = spark_job(tmp_path, targetEngine={"sparkConf": conf})

    with pytest.raises(JobError) as raised:
        command(job, SparkFolder(tmp_path, (), ()), master_of(job, JobOptions()), "spark-submit")

    assert said in str(raised.value)


def test_without_spark_or_java_there_is_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(JobError, match="Spark is not installed in SPARK_HOME="):
        program_of({"SPARK_HOME": str(tmp_path)})

    program = tmp_path / "bin" / "spark-submit"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    with pytest.raises(JobError, match="Spark needs Java"):
        program_of({"SPARK_HOME": str(tmp_path), "JAVA_HOME": str(tmp_path)})
