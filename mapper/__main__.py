"""`python -m mapper`."""

import sys

try:
    from mapper.cli.main import main
except ModuleNotFoundError as error:
    if (error.name or "mapper").partition(".")[0] == "mapper":
        raise
    sys.exit(
        f"error: {sys.executable} has no {error.name}. Activate the environment first "
        "(source .venv/bin/activate), or install what the mapper needs: "
        "pip install -r mapper/requirements.txt"
    )
except KeyboardInterrupt:
    sys.exit(130)

sys.exit(main())
