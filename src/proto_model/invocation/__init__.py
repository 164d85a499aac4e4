"""A served model asked from outside: what the server tells of it, rows for it, and the answer shown."""
