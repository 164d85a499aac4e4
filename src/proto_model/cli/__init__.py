"""What `python -m proto_model` can do: a module per command, each with a `main(argv) -> int`."""
