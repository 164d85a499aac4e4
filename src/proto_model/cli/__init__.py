"""The command line: `main` picks a command; each command is a module with a `main(argv) -> int`."""
