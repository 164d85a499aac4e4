"""Code of a logged model that is somebody's model source."""

from mlflow.models import set_model

from proto_model.serving.mlflow.source_model import SourceModelServer

set_model(SourceModelServer())
