"""The client's side: checks and translates requests, calls the model server, translates answers."""
