"""Code of a logged model that takes rows and gives explanations."""

from mlflow.models import set_model

from proto_model.serving.mlflow.pyfunc import RandomForestExplainer

set_model(RandomForestExplainer())
