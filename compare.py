"""`python compare.py` is short for `python -m proto_model compare`, whose module says what it does."""

import sys

if __name__ == "__main__":
    try:
        from proto_model.cli.main import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {sys.executable} has no {error.name}. Activate the environment first "
            "(source .venv/bin/activate), or make one: make install"
        )
    sys.exit(main(["compare", *sys.argv[1:]]))
