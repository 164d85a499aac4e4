"""Code of a logged model that takes jobs of two presigned URLs and gives summaries."""

from mlflow.models import set_model

from proto_model.files.model import RandomForestFileModel

set_model(RandomForestFileModel())
