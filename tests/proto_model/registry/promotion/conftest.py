import mlflow
import pytest
from mlflow import MlflowClient

from tests.stores import fresh_store


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Client of an MLflow store of its own, current meanwhile; experiment 1 keeps artifacts beside it."""
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(fresh_store(folder))
    mlflow.create_experiment("tests", artifact_location=(folder / "artifacts").as_uri())
    mlflow.MlflowClient().create_registered_model("m")
    yield MlflowClient()
    mlflow.set_tracking_uri(None)
