"""Two ways to make inputs: atheris, which follows coverage, and hypothesis, which runs everywhere.

    python -m tests.fuzz.engines TARGET --seconds 60 --folder build/fuzz

Atheris (libFuzzer) is used where it is installed. Both start from the saved corpus, and both go on after a
finding: each is written once, by the place where it arises, to `<folder>/<target>/findings`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

HAS_ATHERIS = importlib.util.find_spec("atheris") is not None
INSTRUMENTED = ["proto_model", "mapper"]
MAX_BYTES = 4096
EXAMPLES = 300  # of hypothesis, between two looks at the clock, or in all where every run shall have the same


class Findings:
    """Inputs that a target failed on, one for each place in the code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: set[str] = set()
        self.n_calls = 0

    def keep(self, data: bytes, error: BaseException) -> None:
        """Write an input down unless the same place failed before."""
        place = _place(error)
        if place in self.known:
            return
        self.known.add(place)
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(self.known)
        (self.folder / f"{number}.bin").write_bytes(data)
        text = "".join(traceback.format_exception(error))
        (self.folder / f"{number}.txt").write_text(f"{data!r}\n\n{text}")
        print(f"FINDING {place} {data[:300]!r}", file=sys.stderr, flush=True)


def with_atheris(name: str, seconds: float, folder: Path) -> dict[str, Any]:
    """Coverage-guided; ends the process itself, so what it prints is the result."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = _targets()
    target = targets.TARGETS[name]
    findings = Findings(folder / name / "findings")
    corpus = folder / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(targets.corpus_of(name)):
        (corpus / f"saved-{number}").write_bytes(data)
    words = folder / name / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))

    def one(data: bytes) -> None:
        try:
            target.call(data)
        except Exception as error:
            findings.keep(data, error)

    options = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={MAX_BYTES}", f"-dict={words}"]
    options += ["-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=1"]
    options += [f"-artifact_prefix={folder / name}/crash-", str(corpus)]
    atheris.Setup([name, *options], one)
    atheris.Fuzz()
    raise AssertionError("atheris ends the process")


def with_hypothesis(name: str, seconds: float, folder: Path) -> dict[str, Any]:
    """Changes of the corpus, found by hypothesis, which also makes a finding small."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    targets = _targets()
    target = targets.TARGETS[name]
    findings = Findings(folder / name / "findings")
    seeds = targets.corpus_of(name) or [b""]
    pieces = st.one_of(st.sampled_from(target.words), st.binary(max_size=4), st.sampled_from(seeds))
    edits = st.lists(st.tuples(st.integers(0, MAX_BYTES), st.integers(0, 12), pieces), max_size=6)
    inputs = st.one_of(
        st.builds(edited, st.sampled_from(seeds), edits), st.lists(pieces, max_size=30).map(b"".join)
    )

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(data: bytes) -> None:
        findings.n_calls += 1
        try:
            target.call(data[:MAX_BYTES])
        except Exception as error:
            if _place(error) not in places:
                failed[:] = [(data[:MAX_BYTES], error)]
                raise

    places: set[str] = set()
    failed: list[tuple[bytes, BaseException]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            run()
            if settings.default.derandomize:  # again would be the same again
                break
        except Exception:
            if not failed:
                raise
            data, cause = failed.pop()
            places.add(_place(cause))
            findings.keep(data, cause)
    return {"executions": findings.n_calls, "coverage": None, "findings": len(findings.known)}


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}:{type(error).__name__}"


def edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """A seed in which pieces take the place of some bytes.

    Examples
    --------
    >>> edited(b"a,b", [(1, 1, b";;")])
    b'a;;b'
    """
    data = seed
    for place, length, piece in edits:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + length :]
    return data


def replay(name: str) -> None:
    """Call a target with its whole corpus."""
    targets = _targets()
    for data in targets.corpus_of(name):
        targets.TARGETS[name].call(data)


def _targets() -> ModuleType:
    from tests.fuzz import targets

    return targets


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def result_of(output: str, folder: Path, name: str) -> dict[str, Any]:
    """Figures that libFuzzer printed."""

    def last(pattern: str) -> int | None:
        found = re.findall(pattern, output)
        return int(found[-1]) if found else None

    places = folder / name / "findings"
    crashes = list((folder / name).glob("crash-*"))
    return {
        "executions": last(r"stat::number_of_executed_units: *(\d+)") or last(r"#(\d+)") or 0,
        "coverage": last(r"cov: (\d+)"),
        "features": last(r"ft: (\d+)"),
        "findings": len(list(places.glob("*.bin"))) + len(crashes),
    }


def main(argv: list[str] | None = None) -> int:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), default=None)
    args = parser.parse_args(argv)
    engine: Callable[[str, float, Path], dict[str, Any]] = (
        with_atheris if (args.engine or ("atheris" if HAS_ATHERIS else "")) == "atheris" else with_hypothesis
    )
    print(json.dumps(engine(args.target, args.seconds, args.folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
