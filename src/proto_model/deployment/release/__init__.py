"""From a version to a running service: test it, push its images, roll them out."""

from proto_model.deployment.release.errors import ReleaseError
from proto_model.deployment.release.place import Place
from proto_model.deployment.release.rollout import roll_out, write_kustomization
from proto_model.deployment.release.smoke import smoke_test

__all__ = ["Place", "ReleaseError", "roll_out", "smoke_test", "write_kustomization"]
