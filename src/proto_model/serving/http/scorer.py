"""The model behind the server: coded rows in, probabilities and explanations out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proto_model.errors import ArtifactError
from proto_model.explanation import Explainer, ExplainOptions, make_explainer
from proto_model.model.bundle import ForestModel
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from proto_model.files.transfer import FileSettings

__all__ = ["Answer", "Question", "Scorer"]

BUNDLE = Path("artifacts", "bundle")
DEFAULT_ENGINE = "lore"


@dataclass(frozen=True)
class Question:
    """What a request asks.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_features)
        Coded rows.
    params : mapping
        Checked parameters.
    explain : bool
        Whether explanations are asked for.
    """

    matrix: NDArray[np.float64]
    params: Mapping[str, Any] = field(default_factory=dict)
    explain: bool = False


@dataclass(frozen=True)
class Answer:
    """What the model says to a question.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)
        Of each class.
    explanations : list of dict or None
        One per row, if they were asked for.
    """

    probabilities: NDArray[np.float64]
    explanations: list[dict[str, Any]] | None = None


class Scorer:
    """A logged model that answers questions, from several threads at once.

    Parameters
    ----------
    model : ForestModel
        Its bundle.
    version : str or None
        Version in the registry, when it is known.
    mlflow_version : str
        Of the MLflow that logged it.
    always_explains : bool
        Whether it is the explainer, whose every answer is an explanation.
    files : FileSettings or None
        Limits of file jobs, for a model for files.
    """

    def __init__(
        self,
        model: ForestModel,
        version: str | None = None,
        mlflow_version: str = "",
        always_explains: bool = False,
        files: FileSettings | None = None,
    ) -> None:
        self.model = model
        self.schema: ModelSchema = model.schema
        self.version = version
        self.mlflow_version = mlflow_version
        self.always_explains = always_explains
        self.files = files
        self._explainers: dict[str, Explainer] = {}
        self._making = threading.Lock()

    @classmethod
    def load(cls, folder: Path, environment: Mapping[str, str] = os.environ) -> Scorer:
        """Scorer of the folder of a logged model.

        Parameters
        ----------
        folder : Path
            Of a model for rows, for files, or the explainer.
        environment : mapping of str to str
            Holds the settings of a model for files, `PROTO_MODEL_FILES_*`.

        Raises
        ------
        ArtifactError
            If it is not one of this package's models, or damaged.
        SettingsError
            If a setting is not known, or has a wrong value.
        """
        if not (folder / BUNDLE / "schema.json").is_file():
            raise ArtifactError(
                f"{folder} holds no {BUNDLE / 'schema.json'}: not a model of proto_model. Give the folder or "
                "the URI of one, such as models:/proto_model@champion."
            )
        files = None
        if (folder / "file.py").is_file():
            from proto_model.files.transfer import FileSettings

            files = FileSettings.from_environment(environment)
        return cls(
            ForestModel.load(folder / BUNDLE),
            version=_line(folder / "registered_model_meta", "model_version"),
            mlflow_version=_line(folder / "MLmodel", "mlflow_version") or "",
            always_explains=(folder / "explainer.py").is_file(),
            files=files,
        )

    def answer(self, question: Question, go_on: Callable[[], None] | None = None) -> Answer:
        """Answer to a question.

        Parameters
        ----------
        question : Question
            Rows and what is asked about them.
        go_on : callable, optional
            Called after each explanation; ends the work by raising.

        Raises
        ------
        InputError
            If the parameters do not fit the schema.
        """
        explanations = self.explain(question, go_on) if question.explain else None
        return Answer(self.model.predict_proba(question.matrix), explanations)

    def explain(self, question: Question, go_on: Callable[[], None] | None = None) -> list[dict[str, Any]]:
        """Explanation of each row; parameters and errors as for `answer`."""
        options = ExplainOptions.from_params(question.params)
        options.validate(self.schema)
        engine = question.params.get("engine") or DEFAULT_ENGINE
        with self._making:
            if engine not in self._explainers:
                self._explainers[engine] = make_explainer(
                    engine, self.schema, self.model.background, self.model.predict_proba
                )
        explainer = self._explainers[engine]
        if go_on is None:
            return explainer.explain(question.matrix, options)
        return explainer.explain(question.matrix, options, progress=lambda done, total: go_on())


def _line(path: Path, key: str) -> str | None:
    """Value of a key at the left margin of a YAML file; PyYAML would cost more than the rest of the start."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, colon, value = line.partition(":")
            if name == key and colon:
                text = value.strip().strip("'\"")
                return None if text == "null" else text
    return None
