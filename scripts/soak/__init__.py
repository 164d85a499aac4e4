"""A soak: the real servers under load, kills, rolling restarts, faults, crowds and hostile bytes at once."""
