"""A small, fast server of the forest: MLflow's scoring protocol and the Open Inference Protocol V2.

Importing this package loads neither mlflow nor pandas nor scikit-learn nor pyarrow, and answering does not
either, but for Parquet, which is read by pyarrow.
"""

from proto_model.serving.http.served_model import ServedModel

__all__ = ["ServedModel"]
