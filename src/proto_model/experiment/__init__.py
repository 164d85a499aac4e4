"""One training run, from a table to registered versions of a model in MLflow."""
