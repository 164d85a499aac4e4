import dataclasses
import os
import signal
import sys

import pytest

from proto_model.deployment.plugin import processes
from proto_model.deployment.plugin.processes import runs, spawn, stop, tell
from tests.file_servers import wait_until

SLEEPS = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('on', flush=True); time.sleep(600)"
)


@pytest.fixture
def begin(tmp_path):
    """Function that starts a program in the background; all of them are ended at last."""
    started = []

    def start(code):
        log = tmp_path / "log"
        process = spawn([sys.executable, "-c", code], os.environ, log, 0)
        started.append(process)
        return process, log

    yield start
    for process in started:
        stop(process, 0)


@pytest.mark.parametrize("proc", [True, False])
def test_a_process_is_ended_by_sigterm(begin, monkeypatch, tmp_path, proc):
    if not proc:  # as on macOS
        monkeypatch.setattr(processes, "_BOOT", tmp_path / "none")
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    process, _ = begin(SLEEPS)

    assert runs(process)
    assert os.getsid(process.pid) == process.pid
    assert stop(process, 60)
    assert not runs(process)
    assert stop(process, 60)


def test_one_that_does_not_end_is_killed(begin):
    process, log = begin(STUBBORN)
    wait_until(lambda: "on" in log.read_text())

    assert not stop(process, 0.1)
    assert not runs(process)
    assert log.stat().st_mode & 0o777 == 0o600


def test_another_process_with_the_same_number_is_left_alone(begin):
    process, _ = begin(SLEEPS)
    earlier = dataclasses.replace(process, started="another boot 1")

    assert not runs(earlier)
    tell(earlier, signal.SIGKILL)
    assert stop(earlier, 60)
    assert stop(dataclasses.replace(process, started=""), 60)
    assert runs(process)
