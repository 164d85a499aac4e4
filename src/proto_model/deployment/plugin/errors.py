"""What can go wrong with a deployment; the client makes MLflow's exceptions of these."""

from proto_model.errors import ProtoModelError


class DeploymentError(ProtoModelError):
    """A deployment cannot be made, changed, ended or asked."""


class DeploymentInputError(DeploymentError):
    """A name, a target, an option or a row is not one that the plugin takes."""


class DeploymentExistsError(DeploymentError):
    """There is a deployment of this name already."""


class NoDeploymentError(DeploymentError):
    """There is no deployment of this name."""
