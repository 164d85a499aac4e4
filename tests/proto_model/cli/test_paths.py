import os
import subprocess
import sys
from pathlib import Path

import pytest

from proto_model.cli.paths import callers_folders, located
from proto_model.errors import DataError

NAMES = {"iris"}


@pytest.fixture
def folders(tmp_path):
    for name in ("caller", "project"):
        (tmp_path / name).mkdir()
    (tmp_path / "caller" / "table.csv").write_text("a,class\n1,x\n")
    return [tmp_path / "caller", tmp_path / "project"]


@pytest.mark.parametrize("dataset", ["iris", "/no/such/table.csv"])
def test_names_and_absolute_paths_stay_as_they_are(dataset, folders):
    assert located(dataset, folders, NAMES) == dataset


@pytest.mark.parametrize(
    "url", ["s3://bucket/key.csv?signature=secret", "file:///etc/passwd", "ftp://host/x"]
)
def test_a_url_of_another_scheme_is_refused_without_its_query(url, folders):
    with pytest.raises(DataError, match=r"Cannot read a \w+ URL, only http") as caught:
        located(url, folders, NAMES)
    assert "secret" not in str(caught.value)


def test_a_relative_path_is_found_in_the_first_folder_that_has_it(folders):
    assert located("table.csv", folders, NAMES) == str(folders[0] / "table.csv")
    assert located("../caller/table.csv", folders[1:], NAMES) == str(folders[0] / "table.csv")


def test_a_missing_file_is_told_with_the_folders_looked_in(folders):
    with pytest.raises(DataError, match=r"No file none\.csv in .*caller, .*project\. Check the path"):
        located("none.csv", folders, NAMES)


def test_a_misspelt_name_is_left_to_the_one_that_knows_the_names(folders):
    assert located("irsi", folders, NAMES) == "irsi"


def test_only_the_working_folder_counts_outside_of_mlflow_run(tmp_path):
    assert callers_folders({"MLFLOW_TRACKING_URI": "sqlite:////elsewhere/mlflow.db"}, tmp_path) == [tmp_path]


def test_under_mlflow_run_the_stores_folder_and_the_one_above_are_looked_in_too(tmp_path):
    environment = {"MLFLOW_RUN_ID": "0", "MLFLOW_TRACKING_URI": "sqlite:////with%20space/mlflow.db?timeout=9"}

    looked = callers_folders(environment, tmp_path / "src")

    assert looked[-3:] == [Path("/with space"), tmp_path, tmp_path / "src"]


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
def test_under_mlflow_run_the_callers_folder_comes_first(folders):
    caller, project = folders
    code = (
        "from pathlib import Path; from proto_model.cli.paths import callers_folders;"
        "print(callers_folders({'MLFLOW_RUN_ID': '0'}, Path.cwd())[0])"
    )
    # As `mlflow run` does it: a program in the caller's folder starts a shell in the project's.
    starter = (
        "import subprocess, sys;"
        f"subprocess.run(['bash', '-c', 'true && \"$0\" -c \"$1\"', sys.executable, {code!r}],"
        f" cwd={str(project)!r}, check=True)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    answer = subprocess.run(
        [sys.executable, "-c", starter],
        cwd=caller,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.strip() == str(caller)
