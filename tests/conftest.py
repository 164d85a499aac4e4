"""What holds for every test, and their order."""

import importlib
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# The tests start hundreds of processes, each of which would compile anew what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A JVM of the tests lives for seconds: what its second compiler spends in them is never earned back.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
os.environ.setdefault("SPARK_SUBMIT_OPTS", JAVA_OPTIONS)

# A worker imports all libraries; this one first, since it looks for functions in every module that is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    importlib.import_module("skops.io")

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run, so that CI judges the change; runs by hand go on looking for new ones.
settings.register_profile("same_examples", settings.get_profile("untimed"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """A process for each core, eight at most, and two more: a quarter of the time, servers are waited for."""
    return min(os.cpu_count() or 1, 8) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start servers first: a process that began a long one last would end alone."""
    items.sort(key=lambda item: item.get_closest_marker("system") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Packed bytes hold the time, and all workers must see the same names: bytes are named by argument."""
    return argname if isinstance(val, bytes) else None
