"""MLServer runtime of the served model; `generate_mlserver_configs.sh` puts it beside `model-settings.json`.

`MLflowRuntime` can neither load a model whose signature names no inputs, nor tell from one how to read a
V2 request; `model-settings.json` holds both, made from the model schema.
"""

from mlserver_mlflow import MLflowRuntime


class ForestRuntime(MLflowRuntime):
    """MLServer's runtime for MLflow models, with the metadata of `model-settings.json`."""

    def _sync_metadata(self) -> None:
        """Nothing to take from the signature."""
