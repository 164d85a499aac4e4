"""Part of the mapper."""
