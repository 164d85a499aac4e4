"""What can go wrong with an image."""

from proto_model.errors import ProtoModelError


class ImageError(ProtoModelError):
    """An image cannot be built, or cannot be pushed."""
