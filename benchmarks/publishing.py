"""What it costs to sign a version and to verify it.

    python benchmarks/publishing.py
    python benchmarks/publishing.py --mb 10 100 --files 330

Prints a table: CPU time of this process in milliseconds, medians of repeats that alternate. `import`
is what loading `cryptography` takes once. Only local files are read, which the system has in memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from proto_model.registry.publishing import (
    Manifest,
    Publication,
    make_keys,
    read_signing_key,
    read_verify_key,
)
from proto_model.registry.publishing.files import contents
from proto_model.registry.publishing.signature import sign
from proto_model.registry.publishing.verdict import verdict_of


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; give 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, nargs="+", default=[1, 10, 100], help="sizes of versions")
    parser.add_argument("--files", type=int, default=330, help="files of a version")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args(argv)
    loading = milliseconds(lambda: __import__("cryptography.hazmat.primitives.asymmetric.ec"))
    print(f"import {loading:.0f} ms")
    print(f"{'MB':>6} {'files':>6} {'hash and sign':>14} {'verify':>8} {'of it, hashing':>15}")
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        private, public = make_keys(Path(temporary, "keys"))
        signing, verifying = read_signing_key(private), read_verify_key(public.read_text())
        for n_mb in arguments.mb:
            folder = Path(temporary, str(n_mb))
            write_version(folder, n_mb * 1_000_000, arguments.files)

            def publish(folder: Path = folder) -> Publication:
                manifest = Manifest("churn", "3", "2026-11-22", "ann", contents(folder)[0])
                content = manifest.to_bytes()
                return Publication(content, sign(manifest, content, signing))

            publication = publish()

            def verify(folder: Path = folder, publication: Publication = publication) -> None:
                assert verdict_of(folder, publication, [verifying], ("churn", "3")).is_good

            def hash_files(folder: Path = folder) -> None:
                contents(folder)

            rounds = [
                [milliseconds(publish), milliseconds(verify), milliseconds(hash_files)]
                for _ in range(arguments.rounds)
            ]
            signed, verified, hashed = map(statistics.median, zip(*rounds, strict=True))
            print(f"{n_mb:>6} {arguments.files:>6} {signed:>14.1f} {verified:>8.1f} {hashed:>15.1f}")
    return 0


def write_version(folder: Path, n_bytes: int, n_files: int) -> None:
    """A folder like that of a version: a large file, and small ones such as those of the code."""
    (folder / "code").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(n_files - 1):
        (folder / "code" / f"{number}.py").write_bytes(generator.bytes(min(2_000, n_bytes // n_files // 2)))
    rest = n_bytes - sum(path.stat().st_size for path in (folder / "code").iterdir())
    (folder / "forest.npz").write_bytes(generator.bytes(rest))


def milliseconds(call: Callable[[], object]) -> float:
    """CPU time of a call."""
    begin = time.process_time()
    call()
    return (time.process_time() - begin) * 1000


if __name__ == "__main__":
    raise SystemExit(main())
