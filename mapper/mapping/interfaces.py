"""The bases of this package's classes: those of `tango_interfaces` where it is installed, else our own."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("tango_interfaces") is None:
    from mapper.mapping.tango import (
        ExplainableTangoModel,
        TangoModel,
        TangoModelRegistryConnector,
        TangoModelServerProxy,
    )
else:
    from tango_interfaces import (
        ExplainableTangoModel,
        TangoModel,
        TangoModelRegistryConnector,
        TangoModelServerProxy,
    )

__all__ = ["ExplainableTangoModel", "TangoModel", "TangoModelRegistryConnector", "TangoModelServerProxy"]
