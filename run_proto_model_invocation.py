"""`python run_proto_model_invocation.py` is short for `python -m proto_model invoke`."""

import sys

from proto_model.cli.invoke import main

if __name__ == "__main__":
    sys.exit(main())
