"""Code of a logged model that takes rows and gives predictions."""

from mlflow.models import set_model

from proto_model.serving.mlflow.pyfunc import RandomForestWrapperModel

set_model(RandomForestWrapperModel())
