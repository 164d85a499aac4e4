"""A local S3 store for trying out file jobs: `rclone serve s3` with a generated key.

    python scripts/object_store.py serve --folder build/store --port 9000
    eval "$(python scripts/object_store.py env --folder build/store)"
    python scripts/object_store.py presign --folder build/store people.csv people.predictions.csv

`env` prints the variables with which boto3, the aws command and a model server in this shell use the store.
`presign` prints the JSON of a request that scores the first object and writes the second one. Objects are
plain files in `<folder>/files`; the bucket is `s3://files`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from pathlib import Path

from proto_model.cli.exit_code import FAILED, exit_code, tell
from proto_model.cli.parser import CommandParser, port
from proto_model.invocation.local_store import BUCKET, ObjectStore

__all__ = ["BUCKET", "ObjectStore", "build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = CommandParser(doc=__doc__, prog="python scripts/object_store.py")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    serve = commands.add_parser("serve", help="start the store and keep it running")
    env = commands.add_parser("env", help="print the variables that others need to use it, for `eval`")
    presign = commands.add_parser("presign", help="sign the two URLs of a file job")
    for command in (serve, env, presign):
        command.add_argument(
            "--folder", type=Path, default=Path("build/store"), help="where objects are kept"
        )
    serve.add_argument("--port", type=port, default=9000, help="port on 127.0.0.1")
    presign.add_argument("input", help="key of the object to score")
    presign.add_argument("output", help="key of the object to write")
    presign.add_argument(
        "--expires", type=int, default=3600, metavar="S", help="seconds until the URLs expire"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    arguments = build_parser().parse_args(argv)
    if arguments.command == "serve":
        return exit_code(lambda: _serve(arguments.folder, arguments.port))
    store = ObjectStore.on(arguments.folder)
    if store is None:
        tell(f"No store is running on {arguments.folder}. Start one with `serve`.")
        return FAILED
    if arguments.command == "env":
        for name, value in (store.credentials | store.settings).items():
            print(f"export {name}={value}")
        return 0
    record = {
        "input_url": store.presign("get_object", arguments.input, arguments.expires),
        "output_url": store.presign("put_object", arguments.output, arguments.expires),
    }
    print(json.dumps({"dataframe_records": [record]}))
    return 0


def _serve(folder: Path, port: int) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that rclone ends, too
    with ObjectStore.running(folder, port) as store, contextlib.suppress(KeyboardInterrupt):
        print(f"Store at {store.endpoint}; the bucket s3://{BUCKET} is {folder / BUCKET}.")
        print("To use it, run this in each terminal:")
        print(f'  eval "$(python scripts/object_store.py env --folder {folder})"', flush=True)
        while True:
            time.sleep(3600)
    return 0


if __name__ == "__main__":
    sys.exit(main())
