"""A registry on SQLite with two versions of one schema that never agree, and what scikit-learn says."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.soak.stage import ROOT, answers_of

NAME = "wine"
ALIAS = "champion"
N_ROWS = 1000
N_TREES = 100


@dataclass(frozen=True)
class Registry:
    """Where the registry is; the soak's rows, and each version's answers to them."""

    uri: str
    names: list[str]
    records: list[dict[str, Any]]
    answers: dict[str, list[dict[str, Any]]]

    @property
    def source(self) -> str:
        """What servers follow."""
        return f"models:/{NAME}@{ALIAS}"

    @contextmanager
    def promoting(self) -> Iterator[Callable[[str], None]]:
        """Function that moves the alias, in a process of its own: MLflow would hold up the clients."""
        command = [sys.executable, "-m", "scripts.soak.registry", self.uri]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()  # it has begun

            def promote(version: str) -> None:
                assert process.stdin is not None
                assert process.stdout is not None
                print(version, file=process.stdin, flush=True)
                if process.stdout.readline().strip() != version:
                    raise RuntimeError(f"Version {version} was not promoted.")

            try:
                yield promote
            finally:
                process.stdin.close()


def make_registry(folder: Path) -> Registry:
    """Train two forests, the second one for classes that all have the next one's name, and promote the first.

    So a row has another prediction, and other probabilities, in each version.
    """
    import mlflow

    from proto_model.registry.logged_model import log_forest_model
    from proto_model.registry.tracking import quiet_mlflow
    from proto_model.registry.versions import register_version
    from proto_model.table import load_training_data
    from proto_model.training import make_pipeline

    quiet_mlflow()
    data = load_training_data("wine", None, 0.2, NAME)
    rng = np.random.default_rng(0)
    table = data.X_train.sample(N_ROWS, replace=True, random_state=0).reset_index(drop=True)
    table = (table * rng.uniform(0.8, 1.2, table.shape)).round(4)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("soak", artifact_location=(folder / "artifacts").as_uri())
    answers, classes = {}, list(data.schema.classes)
    with warnings.catch_warnings(), mlflow.start_run(experiment_id=experiment):
        warnings.simplefilter("ignore")  # of MLflow, on columns and on examples
        for turn in (0, 1):
            named = dict(zip(classes, classes[turn:] + classes[:turn], strict=True))
            y = np.array([named[label] for label in data.y_train])
            pipeline = make_pipeline("random_forest", data.schema, turn, n_estimators=N_TREES)
            info = log_forest_model(pipeline.fit(data.X_train, y), data)
            version = str(register_version(info.model_uri, NAME).version)
            answers[version] = answers_of(pipeline, classes, table)
    first, second = answers.values()
    assert all(one != other for one, other in zip(first, second, strict=True))
    names = list(data.schema.feature_names)
    records = [dict(zip(names, map(float, row), strict=True)) for row in table[names].to_numpy()]
    mlflow.MlflowClient(uri).set_registered_model_alias(NAME, ALIAS, min(answers))
    return Registry(uri, names, records, answers)


def main(argv: list[str]) -> int:
    """Promote the versions that the standard input names, and say so after each."""
    from mlflow import MlflowClient

    client = MlflowClient(argv[0])
    print(client.get_model_version_by_alias(NAME, ALIAS).version, flush=True)
    for line in sys.stdin:
        client.set_registered_model_alias(NAME, ALIAS, line.strip())
        print(line.strip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
