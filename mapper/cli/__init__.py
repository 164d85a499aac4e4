"""The command line: each module adds its commands, with their flags, to the parser."""
