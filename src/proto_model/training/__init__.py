"""Forest variants, the search for their best hyperparameters, and what the test rows say about them."""

from typing import TYPE_CHECKING

from proto_model.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "selection.progress": ("search_progress",),
        "selection.result": ("Reference", "SearchResult"),
        "selection.search": ("searches",),
        "selection.variants": ("VARIANTS", "Variant", "make_pipeline"),
    },
)
