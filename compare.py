"""`python compare.py` is short for `python -m proto_model compare`, whose module says what it does."""

import sys

from proto_model.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
