"""A version in the formats of others, and how each was verified; nothing here knows MLflow."""

from typing import TYPE_CHECKING

from proto_model.lazy import lazy_names

if TYPE_CHECKING:
    from proto_model.formats.kinds import FORMATS, Format, format_of, written
    from proto_model.formats.source import Source
    from proto_model.formats.verdict import Verdict

__all__ = [
    "FORMATS",
    "Format",
    "Source",
    "Verdict",
    "format_of",
    "written",
]

__getattr__ = lazy_names(
    __name__,
    {
        "kinds": ("FORMATS", "Format", "format_of", "written"),
        "source": ("Source",),
        "verdict": ("Verdict",),
    },
)
