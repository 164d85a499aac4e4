"""From a model version to something that runs elsewhere."""
