import warnings
from pathlib import Path

import pytest

from proto_model.registry.logged_model import CODE, example_rows, save_model
from proto_model.registry.signature import rows_signature
from proto_model.table import encode


@pytest.fixture(scope="session")
def model(bundle, mixed_data, tmp_path_factory) -> Path:
    """The folder of a version, as the registry gives it."""
    folder = tmp_path_factory.mktemp("deployment") / "model"
    schema = mixed_data.schema
    with warnings.catch_warnings():
        # mlflow 3.17 on the columns of an input example
        warnings.filterwarnings("ignore", "Operation with range is deprecated")
        save_model(
            folder,
            bundle=bundle,
            code=CODE / "forest.py",
            signature=rows_signature(schema),
            input_example=example_rows(encode(mixed_data.X_train, schema), schema),
        )
    (folder / "registered_model_meta").write_text("model_name: people\nmodel_version: '7'\n")
    return folder
