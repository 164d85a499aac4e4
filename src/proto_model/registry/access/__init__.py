"""Who may do what with a registered model, on a server with MLflow's basic-auth."""

from proto_model.registry.access.rights import (
    Change,
    Holder,
    Resource,
    grant,
    holders,
    resources_of,
    revoke,
)
from proto_model.registry.access.server import AccessServer

__all__ = [
    "AccessServer",
    "Change",
    "Holder",
    "Resource",
    "grant",
    "holders",
    "resources_of",
    "revoke",
]
