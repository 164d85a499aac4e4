"""Train, explain, serve and promote a tabular forest model with MLflow."""

__all__ = ["__version__"]

__version__ = "0.4.0"
