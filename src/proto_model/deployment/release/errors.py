"""What can go wrong with a release."""

from proto_model.errors import ProtoModelError


class ReleaseError(ProtoModelError):
    """A version did not pass its test, or cannot be rolled out."""
