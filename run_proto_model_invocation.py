"""`python run_proto_model_invocation.py` is short for `python -m proto_model invoke`."""

import sys

if __name__ == "__main__":
    try:
        from proto_model.cli.main import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {sys.executable} has no {error.name}. Activate the environment first "
            "(source .venv/bin/activate), or make one: make install"
        )
    sys.exit(main(["invoke", *sys.argv[1:]]))
