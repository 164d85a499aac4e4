"""What can go wrong with a package."""

from proto_model.errors import ProtoModelError


class PackageError(ProtoModelError):
    """A package cannot be written, is not what was written, or cannot be used here."""
