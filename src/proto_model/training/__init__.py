"""Forest variants, the search for their best hyperparameters, and what the test rows say about them."""

from proto_model.training.search import SearchResult, search_progress, searches
from proto_model.training.variants import VARIANTS, Variant, make_pipeline

__all__ = [
    "VARIANTS",
    "SearchResult",
    "Variant",
    "make_pipeline",
    "search_progress",
    "searches",
]
