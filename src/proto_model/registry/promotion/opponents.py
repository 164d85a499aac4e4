"""The two versions to compare, asked for labels, and the rows that neither of them saw in training.

A training run leaves its test rows and the hashes of all its rows, training and test, under `split/`. The
split goes by a hash of each row, so a row's hash tells across runs whether another run trained on it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import MLMODEL_FILE_NAME, Model
from numpy.typing import NDArray
from yaml import YAMLError

from proto_model.errors import ArtifactError, DataError, ProtoModelError
from proto_model.registry.promotion.comparison import ComparisonError
from proto_model.schema import Label, ModelSchema
from proto_model.table import encode
from proto_model.table.split import HASH_COLUMN, split_digest

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from proto_model.model import Bundle

_BUNDLE = Path("artifacts", "bundle")
_URLS = {"input_url", "output_url"}
_TEST_ROWS = "split/test_rows.parquet"
_ROWS = "split/rows.parquet"
_COLUMNS = {_TEST_ROWS: {HASH_COLUMN}, _ROWS: {"row_hash", "part"}}


@dataclass(frozen=True)
class Contender:
    """A model version: its schema, if it has one, what its requests hold, and the labels of a frame's rows.

    The frame's columns come in any order. `predict_proba` is None of a model that gives labels only.
    """

    schema: ModelSchema | None
    takes: Literal["rows", "file"]
    predict: Callable[[pd.DataFrame], Sequence[Label]]
    predict_proba: Callable[[pd.DataFrame], NDArray[np.float64]] | None = None


def forest_probabilities(forest: Bundle, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Probabilities of the classes from a version that this project logged, shape (n_rows, n_classes)."""
    return forest.predict_proba(encode(frame, forest.schema))


def forest_labels(forest: Bundle, frame: pd.DataFrame) -> Sequence[Label]:
    """Labels from a version that this project logged: asked directly, so both signatures compare alike."""
    probabilities = forest.predict_proba(encode(frame, forest.schema))
    return [forest.schema.classes[index] for index in forest.decide(probabilities)]


def pyfunc_labels(model: PyFuncModel, frame: pd.DataFrame) -> Sequence[Label]:
    """Labels from any other model that MLflow can load, which gets the columns that its signature names.

    They are the column `prediction` of its answer, or the answer itself when it is one label per row.
    """
    signature = model.metadata.signature
    if signature is not None and signature.inputs is not None and signature.inputs.has_input_names():
        frame = frame[[name for name in signature.inputs.input_names() if name in frame.columns]]
    answer: Any = model.predict(frame)
    if isinstance(answer, pd.DataFrame):
        answer = answer["prediction"] if "prediction" in answer.columns else answer.iloc[:, 0]
    labels: list[Label] = np.asarray(answer).tolist()
    if np.ndim(labels) != 1 or len(labels) != len(frame):
        raise ComparisonError(f"One label per row expected, an answer of shape {np.shape(labels)} received.")
    return labels


def load_contender(name: str, version: str, folder: Path) -> Contender:
    """Model version from the registry, downloaded into a folder that is needed for as long as it predicts.

    An ArtifactError says that the artifact is gone, or that it is no model.
    """
    # Each of the two takes seconds to import, and a comparison rarely needs both.
    try:
        uri = f"models:/{name}/{version}"
        path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
        if not path.exists() or not any(path.iterdir()):
            raise ArtifactError(f"{uri} has no files.")
        if (path / _BUNDLE / "schema.json").is_file():
            from proto_model.model import Bundle

            forest = Bundle.load(path / _BUNDLE)
            labels = functools.partial(forest_labels, forest)
            probabilities = functools.partial(forest_probabilities, forest)
            return Contender(forest.schema, _taken(path), labels, probabilities)
        from mlflow.pyfunc import load_model

        return Contender(None, _taken(path), functools.partial(pyfunc_labels, load_model(str(path))))
    except (MlflowException, OSError, ImportError, ProtoModelError) as error:
        raise ArtifactError(
            f"Cannot load version {version} of {name!r}: {_first_line(error)} If its artifact was moved or "
            "deleted, restore it, or point the alias at another version."
        ) from error


def _taken(folder: Path) -> Literal["rows", "file"]:
    """What a model's requests hold, by its signature: tags and names can be edited."""
    if not (folder / MLMODEL_FILE_NAME).is_file():
        return "rows"
    try:
        inputs = Model.load(folder).get_input_schema()  # type: ignore[no-untyped-call]  # mlflow is half typed
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:  # whatever is in the file
        raise ArtifactError(f"Its {MLMODEL_FILE_NAME} is damaged.") from error
    return "file" if inputs is not None and _URLS <= set(inputs.input_names()) else "rows"


def _first_line(error: Exception) -> str:
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return text if text.endswith(".") else f"{text}."


@dataclass(frozen=True)
class HeldOutRows:
    """Rows to compare two versions on: features, target and the column `__row_hash__`.

    Of the `n_test_rows` of the challenger's run, `n_set_aside` are left out because a version was trained on
    them. `caveats` say why a version may have seen some of the rows all the same.
    """

    frame: pd.DataFrame
    n_test_rows: int
    n_set_aside: int
    caveats: tuple[str, ...]

    @property
    def digest(self) -> str:
        """As the `split_digest` of a training run."""
        return split_digest(self.frame[HASH_COLUMN].to_numpy(dtype=np.uint64))


def held_out_rows(challenger: ModelVersion, champion: ModelVersion | None, folder: Path) -> HeldOutRows:
    """Test rows of the challenger's training run that are in no version's training rows.

    When the champion's training rows are not known, all test rows are used and a caveat says so: a champion
    that saw some of them only gets a better score than it deserves. The other way round there is no fair
    comparison, so a DataError says that the challenger's rows are not known, or were all trained on.
    """
    try:
        frame = _read(challenger, _TEST_ROWS, folder / "challenger")
        own_training, _ = _row_hashes(challenger, folder / "challenger")
    except _MissingSplitError as error:
        raise DataError(f"There are no held-out rows. {error}. Train the challenger again.") from error
    test_hashes = frame[HASH_COLUMN].to_numpy(dtype=np.uint64)
    seen = np.isin(test_hashes, own_training)
    caveats = []
    if champion is not None:
        try:
            training, tested = _row_hashes(champion, folder / "champion")
        except _MissingSplitError as error:
            caveats.append(f"{error}. The champion may have been trained on some of the rows.")
        else:
            seen_by_champion = np.isin(test_hashes, training)
            seen |= seen_by_champion
            if not (seen_by_champion.any() or np.isin(test_hashes, tested).any()):
                caveats.append(
                    "The tables of the two versions have no row in common: other data, or other columns. "
                    "The champion may have been trained on some of the rows."
                )
    if seen.all():
        raise DataError(
            f"There are no held-out rows: each of the {len(frame)} test rows was used to train one of the "
            "versions. Train both with the same test_size, so that the same rows are held out."
        )
    return HeldOutRows(
        frame=frame[~seen].reset_index(drop=True),
        n_test_rows=len(frame),
        n_set_aside=int(seen.sum()),
        caveats=tuple(caveats),
    )


class _MissingSplitError(Exception):
    """A run left no record of its split; the message is a sentence without its full stop."""


def _row_hashes(version: ModelVersion, folder: Path) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes of a version's training rows and test rows."""
    rows = _read(version, _ROWS, folder)
    hashes = rows["row_hash"].to_numpy(dtype=np.uint64)
    is_training = (rows["part"] == "train").to_numpy(dtype=bool)
    return hashes[is_training], hashes[~is_training]


def _read(version: ModelVersion, artifact_path: str, folder: Path) -> pd.DataFrame:
    run_id = version.tags.get("split_run_id")
    if run_id is None:
        raise _MissingSplitError(f"Version {version.version} has no tag split_run_id")
    folder.mkdir(exist_ok=True)
    try:
        path = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=artifact_path, dst_path=str(folder)
        )
        frame = pd.read_parquet(path)
    except (MlflowException, OSError, ValueError) as error:
        raise _MissingSplitError(
            f"The artifact {artifact_path} of run {run_id}, which split the rows of version "
            f"{version.version}, cannot be read"
        ) from error
    missing = _COLUMNS[artifact_path] - set(frame.columns)
    if missing:
        raise _MissingSplitError(f"The artifact {artifact_path} of run {run_id} lacks {sorted(missing)}")
    return frame
