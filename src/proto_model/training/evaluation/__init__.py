"""How good a model is on rows that it has not seen: metrics, figures and the model card."""

from typing import TYPE_CHECKING

from proto_model.lazy import lazy_names

if TYPE_CHECKING:
    from proto_model.training.evaluation.card import Verdict, judge, library_versions, model_card
    from proto_model.training.evaluation.group_metrics import metrics_by_group
    from proto_model.training.evaluation.markdown import markdown_table

__all__ = [
    "Verdict",
    "judge",
    "library_versions",
    "markdown_table",
    "metrics_by_group",
    "model_card",
]

__getattr__ = lazy_names(
    __name__,
    {
        "card": ("Verdict", "judge", "library_versions", "model_card"),
        "group_metrics": ("metrics_by_group",),
        "markdown": ("markdown_table",),
    },
)
