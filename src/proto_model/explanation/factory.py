"""Explainers by the name of their engine."""

from __future__ import annotations

from collections.abc import Callable

from proto_model.errors import InputError
from proto_model.explanation.interface import Explainer, Floats, PredictProba
from proto_model.explanation.lore import LoreExplainer
from proto_model.explanation.lore_sa import LoreSaExplainer
from proto_model.explanation.unfolded import explainer_of_texts
from proto_model.schema import ModelSchema

_EXPLAINERS: dict[str, Callable[..., Explainer]] = {"lore": LoreExplainer, "lore_sa": LoreSaExplainer}
ENGINES = tuple(_EXPLAINERS)


def make_explainer(
    engine: str, schema: ModelSchema, background: Floats, predict_proba: PredictProba, synthetic: bool = False
) -> Explainer:
    """Explainer of a model.

    Parameters
    ----------
    engine : {"lore", "lore_sa"}
        The project's own engine, or the published LORE library (slow, one row at a time, optional).
    schema : ModelSchema
        Features and classes of the model.
    background : ndarray of shape (n_rows, n_features)
        Coded matrix of rows like those that the model was trained on.
    predict_proba : callable
        The model: coded matrix to class probabilities. See `FrameModel` for models over data frames.
    synthetic : bool
        Whether the background's rows are drawn, such as by `proto_model.training.background`, and not a
        sample of the training rows.

    Raises
    ------
    InputError
        If there is no such engine, or its library is not installed.
    ArtifactError
        If the background does not fit the schema.
    """
    if engine not in _EXPLAINERS:
        raise InputError(f"engine {engine!r} given, one of {', '.join(ENGINES)} expected.")
    if any(feature.terms is not None for feature in schema.features):
        return explainer_of_texts(_EXPLAINERS[engine], schema, background, predict_proba, synthetic)
    return _EXPLAINERS[engine](schema, background, predict_proba, synthetic)
