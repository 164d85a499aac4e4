"""Compare the challenger with the champion; the same as `python -m proto_model compare`."""

import sys

from proto_model.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
