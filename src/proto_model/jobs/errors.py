"""What can go wrong with a batch job before it runs; what goes wrong while it runs is in its result."""

from proto_model.errors import InputError, ProtoModelError


class JobError(InputError):
    """A job, or a file that it names, cannot be used as given."""


class JobFailedError(ProtoModelError):
    """A job ran and did not come to its end."""
