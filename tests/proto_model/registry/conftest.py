import itertools

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from proto_model.cli.train import main
from tests.stores import fresh_store
from tests.trainings import as_in

_numbers = itertools.count()


@pytest.fixture(scope="session")
def people_csv(tmp_path_factory):
    """Table with every type of column, missing values, and labels that no metric may be called after."""
    generator = np.random.default_rng(5)
    n_rows = 160
    hours = generator.normal(40, 9, n_rows).round(1)
    sex = generator.choice(["f", "m"], n_rows)
    table = pd.DataFrame(
        {
            "hours": np.where(generator.random(n_rows) < 0.1, np.nan, hours),
            "age": generator.integers(18, 80, n_rows),
            "married": generator.choice(["true", "false"], n_rows),
            "sex": sex,
            "nation": "here",
            "income": np.where(hours + 4 * (sex == "m") > 44, ">50K", "<=50K"),
        }
    )
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """MLflow on a SQLite file of its own, in a working folder of its own."""
    folder = tmp_path_factory.mktemp("store")
    with as_in(folder, fresh_store(folder)):
        yield folder


@pytest.fixture(scope="module")
def train(store):
    """The command, run in this process; its exit code, standard output and standard error."""

    def run(capsys, *arguments):
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Client of an MLflow store of its own, current meanwhile; experiment 1 keeps artifacts beside it."""
    folder = tmp_path_factory.mktemp("mlflow")
    # The store resolves models:/m-... by the current URI, whichever client asks.
    mlflow.set_tracking_uri(fresh_store(folder))
    mlflow.create_experiment("tests", artifact_location=(folder / "artifacts").as_uri())
    mlflow.MlflowClient().create_registered_model("m")
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def model(client):
    """Registered model with the versions 1 to 4 and no alias."""
    name = f"model_{next(_numbers)}"
    client.create_registered_model(name)
    for _ in range(4):
        client.create_model_version(name, "file:///nowhere")
    return name
