"""The whole round of a file for someone with credentials of an S3 store: up, scored, and down again.

    python -m mapper.store --file people.parquet --out predictions.parquet --store s3://bucket/folder

Uploads the file (in parts where it is large), signs both URLs, asks a running mapper service to score it,
downloads the predictions and removes both objects. Needs boto3, and credentials where that looks for them.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from mapper.errors import MapperError
from mapper.http import HttpClient

__all__ = ["build_parser", "main", "predict_file"]

Progress = Callable[[str, int, int], None]
"""Told what is going on (`uploaded`, `downloaded`), and how many bytes of how many are done."""

_MARGIN_S = 600


def predict_file(
    file: Path,
    out: Path,
    store: str,
    ask: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    client: Any,
    parameters: dict[str, Any] | None = None,
    expires_s: int = 4 * 3600,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Summary of a file that was scored by way of a store.

    Parameters
    ----------
    file : Path
        Rows; its name says the format.
    out : Path
        Appears when all predictions are there.
    store : str
        `s3://bucket` or `s3://bucket/folder`, for two objects that exist meanwhile.
    ask : callable
        Sends a request's body to the mapper and gives the answer's.
    client : S3 client
        Of boto3, signing with version 4.
    parameters : dict, optional
        Of the request, such as `passthrough`.
    expires_s : int
        How long the signed URLs hold.
    progress : callable
        Told about uploads and downloads.

    Raises
    ------
    MapperError
        If the store is not named well, or the job failed.
    """
    bucket, folder = _location(store)
    job = uuid.uuid4().hex
    source, target = f"{folder}{job}-in-{file.name}", f"{folder}{job}-out-{out.name}"
    left = [source]
    try:
        n_bytes = file.stat().st_size
        client.upload_file(str(file), bucket, source, Callback=_counted(progress, "uploaded", n_bytes))
        urls = {
            "input_url": _signed(client, "get_object", bucket, source, expires_s),
            "output_url": _signed(client, "put_object", bucket, target, expires_s),
            "file_id": file.name,
        }
        answer = ask({"file": urls, **({"parameters": parameters} if parameters else {})})
        summary: dict[str, Any] = answer["file"]
        if summary["status"] != "done":
            raise MapperError(f"{file} was not scored: {summary['error']}")
        left.append(target)
        unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
        try:
            counted = _counted(progress, "downloaded", summary["bytes_out"])
            client.download_file(bucket, target, str(unfinished), Callback=counted)
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
        return summary
    finally:
        for key in left:
            client.delete_object(Bucket=bucket, Key=key)


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mapper.store",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--file", type=Path, required=True, help="rows: CSV, JSON Lines, Parquet or Arrow")
    parser.add_argument("--out", type=Path, required=True, help="predictions")
    parser.add_argument("--store", required=True, metavar="s3://BUCKET/FOLDER", help="where both files go by")
    parser.add_argument("--endpoint-url", help="of a store other than AWS (default: AWS_ENDPOINT_URL)")
    parser.add_argument(
        "--url", default="http://127.0.0.1:8080", help="mapper service (default: %(default)s)"
    )
    parser.add_argument("--passthrough", action="append", default=[], metavar="COLUMN", help="column to copy")
    parser.add_argument(
        "--output-format", default="", help="format of the predictions (default: the input's)"
    )
    parser.add_argument("--on-bad-row", choices=["fail", "mark"], default="fail", help="default: %(default)s")
    parser.add_argument(
        "--timeout-s", type=float, default=4 * 3600.0, help="longest wait (default: %(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the round; 0 when the predictions are there, 1 when not."""
    args = build_parser().parse_args(argv)
    parameters: dict[str, Any] = {"on_bad_row": args.on_bad_row}
    if args.passthrough:
        parameters["passthrough"] = args.passthrough
    if args.output_format:
        parameters["output_format"] = args.output_format
    try:
        client = _client(args.endpoint_url)
        with closing(HttpClient(args.url, {"Content-Type": "application/json"}, args.timeout_s)) as service:
            summary = predict_file(
                args.file,
                args.out,
                args.store,
                lambda body: _ask(service, body),
                client=client,
                parameters=parameters,
                expires_s=int(args.timeout_s) + _MARGIN_S,
                progress=_shown if sys.stderr.isatty() else lambda what, done, total: None,
            )
    except (MapperError, OSError) as error:
        print(f"mapper: {error}", file=sys.stderr)
        return 1
    print(orjson.dumps(summary).decode())
    return 0


def _client(endpoint_url: str | None) -> Any:
    try:
        boto3, botocore = import_module("boto3"), import_module("botocore.config")  # optional, and heavy
    except ImportError as error:
        raise MapperError("The package boto3 is not installed. Run: pip install boto3") from error
    style = "path" if endpoint_url or os.environ.get("AWS_ENDPOINT_URL") else "auto"
    config = botocore.Config(signature_version="s3v4", s3={"addressing_style": style})
    return boto3.client("s3", endpoint_url=endpoint_url, config=config)


def _ask(service: HttpClient, body: dict[str, Any]) -> dict[str, Any]:
    """Answer of the mapper service."""
    reply = service.request("POST", "/v1/predict", orjson.dumps(body))
    try:
        answer: dict[str, Any] = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise MapperError(f"{service.url} does not answer in JSON. Is it a mapper?") from error
    if reply.status != 200:
        faults = "; ".join(str(fault["message"]) for fault in answer.get("errors", ()))
        detail = answer.get("detail", f"status {reply.status}")
        raise MapperError(f"{answer.get('title', 'Problem')} ({reply.status}): {detail} {faults}".strip())
    return answer


def _location(store: str) -> tuple[str, str]:
    """Bucket, and the folder with a slash behind it."""
    scheme, _, rest = store.partition("://")
    bucket, _, folder = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise MapperError(f"--store {store} given, s3://bucket or s3://bucket/folder expected.")
    folder = folder.strip("/")
    return bucket, f"{folder}/" if folder else ""


def _signed(client: Any, method: str, bucket: str, key: str, expires_s: int) -> str:
    return str(
        client.generate_presigned_url(
            method, {"Bucket": bucket, "Key": key}, ExpiresIn=min(expires_s, 604_800)
        )
    )


def _counted(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """What boto3 calls with the number of further bytes."""
    done = 0

    def count(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        progress(what, done, total)

    return count


def _shown(what: str, done: int, total: int) -> None:
    print(f"\r{what} {done / 1e6:,.1f} of {total / 1e6:,.1f} MB", end="", file=sys.stderr)
    if done >= total:
        print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
