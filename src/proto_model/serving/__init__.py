"""The front ends over the served model."""
