"""Example explanations of a trained model, as figures."""

from __future__ import annotations

from sklearn.pipeline import Pipeline

from proto_model.explanation import make_explainer
from proto_model.explanation.figure import example_figures
from proto_model.model import background_rows
from proto_model.registry.record import artifact_folder
from proto_model.table import TrainingData, encode
from proto_model.training import compiled_forest
from proto_model.training.evaluation import metric_suffixes, save

__all__ = ["log_example_explanations"]


def log_example_explanations(pipeline: Pipeline, data: TrainingData) -> None:
    """One figure per class, of a typical test row that gets it, as `explanations/` of the active run."""
    forest = compiled_forest(pipeline, data.schema)
    background = background_rows(encode(data.X_train, data.schema))
    explainer = make_explainer("lore", data.schema, background, forest.predict_proba)
    X = encode(data.X_test, data.schema)
    figures = example_figures(explainer, data.schema, X, forest.predict_proba(X))
    with artifact_folder("explanations") as folder:
        for name, figure in zip(metric_suffixes(list(figures)), figures.values(), strict=True):
            save(figure, folder / f"{name}.png")
