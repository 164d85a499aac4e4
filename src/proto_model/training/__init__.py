"""Forest variants, the search for their best hyperparameters, and what the test rows say about them."""

from proto_model.forest.pipeline import compiled_forest, forest_columns
from proto_model.training.search import SearchProgress, SearchResult, search, search_progress, searches
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
