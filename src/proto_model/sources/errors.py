"""What can go wrong with somebody's model source before it runs; what it does wrong is in its `Outcome`."""

from proto_model.errors import InputError


class SourceError(InputError):
    """A model source, its attachment, its schema or its data cannot be used as given."""
