"""`python -m proto_model`."""

import sys

from proto_model.cli.main import main

sys.exit(main())
