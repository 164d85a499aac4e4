"""Forest variants, and the search for their best hyperparameters."""

from proto_model.forest.pipeline import compiled_forest, forest_columns
from proto_model.training.progress import SearchProgress, search_progress
from proto_model.training.search import SearchResult, search, searches
from proto_model.training.variants import VARIANTS, Variant, make_pipeline

__all__ = [
    "VARIANTS",
    "SearchProgress",
    "SearchResult",
    "Variant",
    "compiled_forest",
    "forest_columns",
    "make_pipeline",
    "search",
    "search_progress",
    "searches",
]
