"""`mlflow deployments -t proto-model`: MLflow's entry point looks for these three names here."""

from proto_model.deployment.plugin.client import ProtoModelDeploymentClient, run_local, target_help

__all__ = ["ProtoModelDeploymentClient", "run_local", "target_help"]
