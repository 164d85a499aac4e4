"""What can go wrong with a package."""

from proto_model.errors import CallerError, ProtoModelError


class PackageError(ProtoModelError):
    """A package cannot be written, is not what was written, or cannot be used here."""


class NoPackageError(PackageError, CallerError):
    """What was named is no package, no place for one, or no Python to check it with."""
