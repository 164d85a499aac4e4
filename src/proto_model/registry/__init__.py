"""All that talks to MLflow: runs, versions, aliases and their promotion."""
