"""Code of a logged model that takes jobs of two presigned URLs and gives summaries."""

from mlflow.models import set_model

from proto_model.serving.mlflow.file_model import RandomForestFileModel

set_model(RandomForestFileModel())
