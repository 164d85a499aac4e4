"""The served models as MLflow's pyfunc."""
