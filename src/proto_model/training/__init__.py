"""Forest variants, the search for their best hyperparameters, and what the test rows say about them."""

from proto_model.training.selection.progress import search_progress
from proto_model.training.selection.result import Reference, SearchResult
from proto_model.training.selection.search import searches
from proto_model.training.selection.variants import VARIANTS, Variant, make_pipeline

__all__ = [
    "VARIANTS",
    "Reference",
    "SearchResult",
    "Variant",
    "make_pipeline",
    "search_progress",
    "searches",
]
