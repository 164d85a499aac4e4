"""The served model: its bundle of plain files, how rows are read, how answers look.

Importing this package loads neither mlflow nor pandas nor scikit-learn.
"""

from proto_model.model.bundle import ForestModel, background_rows, write_bundle

__all__ = ["ForestModel", "background_rows", "write_bundle"]
