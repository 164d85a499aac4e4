"""Turn a logged row model into a file model: the same forest, without retraining.

    python scripts/file_model.py --model models:/proto_model@champion --out build/file_model

Writes a model folder that takes presigned URLs; serve it like any other. An existing model there is replaced.
MLFLOW_TRACKING_URI says where the registry is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from proto_model.errors import ProtoModelError
from proto_model.registry.tracking import quiet_mlflow


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--model",
        default="models:/proto_model@champion",
        help="folder or URI of a row model (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/file_model"),
        help="folder of the new file model (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the model; 0 when it is there, 1 when not."""
    args = build_parser().parse_args(argv)
    if args.out.exists() and not (args.out / "MLmodel").is_file():
        print(f"file_model: {args.out} exists and is not a model. Choose another folder.", file=sys.stderr)
        return 1
    quiet_mlflow()
    from proto_model.registry.model_folder import downloaded, local_folder

    try:
        with tempfile.TemporaryDirectory() as download:
            model = local_folder(args.model) or downloaded(args.model, Path(download))
            _write(model / "artifacts" / "bundle", args.out)
    except (ProtoModelError, OSError) as error:
        print(f"file_model: {error}", file=sys.stderr)
        return 1
    print(args.out)
    return 0


def _write(bundle: Path, out: Path) -> None:
    """Put a bundle under the code and the signature of a model for files."""
    from proto_model.model import Bundle
    from proto_model.registry.logged_model import CODE, save_model
    from proto_model.registry.signature import file_signature

    Bundle.load(bundle)  # or say what is wrong with it, before anything is replaced
    shutil.rmtree(out, ignore_errors=True)
    with warnings.catch_warnings():
        # A file job's URLs are good for one person and a short time, so there is no example of one.
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        warnings.filterwarnings("ignore", ".*Add type hints to the `predict` method", UserWarning)
        signature = file_signature()
        save_model(out, bundle=bundle, code=CODE / "file.py", signature=signature)


if __name__ == "__main__":
    sys.exit(main())
