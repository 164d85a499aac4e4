"""The way to the model server: a blocking proxy, and the service's client that keeps connections."""
