"""What a model source may use, and what it sees of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proto_model.sources.errors import SourceError

_MIB = 1024 * 1024
MOST = 10**9  # more, in bytes or seconds, no operating system takes


@dataclass(frozen=True)
class Limits:
    """What a source may use at most; they stop mistakes, and are no wall against malice.

    Attributes
    ----------
    timeout_s : float
        From the first line of the source to the last record.
    memory_mb : int
        Of each of its processes, of address space.
    cpu_s : float or None
        CPU time of each of its processes; None: what all cores give until the timeout.
    output_mb : int
        Of each file that it writes, of all in outputDir, and of what it answers.
    log_kb : int
        What is kept of what it prints; the rest is counted.
    """

    timeout_s: float = 600.0
    memory_mb: int = 4096
    cpu_s: float | None = None
    output_mb: int = 1024
    log_kb: int = 64

    def __post_init__(self) -> None:
        """Refuse limits that nothing could keep."""
        for name, value in vars(self).items():
            if value is not None and not 0 < value <= MOST:
                raise SourceError(f"{name} {value} given, a number above 0 and up to {MOST:,} expected.")

    @property
    def output_bytes(self) -> int:
        """`output_mb` in bytes."""
        return self.output_mb * _MIB

    def of_process(self) -> dict[str, int]:
        """Limits of the operating system by their names in `resource`."""
        cpu_s = self.cpu_s if self.cpu_s is not None else self.timeout_s * (os.cpu_count() or 1)
        return {
            "RLIMIT_AS": self.memory_mb * _MIB,
            "RLIMIT_CPU": max(1, round(cpu_s)),
            "RLIMIT_FSIZE": self.output_bytes,
            "RLIMIT_CORE": 0,
        }


# What programs and libraries need to work. All else may be secret: tokens, passwords, addresses with both.
_PASSED = frozenset((
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV",
    "CONDA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "NLTK_DATA",
    "JAVA_HOME", "SPARK_HOME", "HADOOP_HOME", "HADOOP_CONF_DIR", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "SYSTEMROOT", "NUMBA_CACHE_DIR",
))  # fmt: skip

_SET = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "MPLBACKEND": "Agg"}


def environment(named: Iterable[str] = (), of: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that a source sees: those that are known to be harmless, and those that the user names.

    A SourceError says that one of these is not set.
    """
    given = os.environ if of is None else of
    named = list(named)
    missing = [name for name in named if name not in given]
    if missing:
        raise SourceError(f"The variable {missing[0]} is not set, so it cannot be passed on. Set it first.")
    kept = {n: v for n, v in given.items() if n in _PASSED or n.startswith("LC_") or n in named}
    return kept | {name: value for name, value in _SET.items() if name not in named}
