"""Send rows to a served model and show the answer; the same as `python -m proto_model invoke`."""

import sys

from proto_model.cli.invoke import main

if __name__ == "__main__":
    sys.exit(main())
