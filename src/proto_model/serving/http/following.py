"""Each process that answers watches what is on offer, and swaps; one of them keeps the process that follows.

A thread does it, so that no request waits: what takes long reads files, maps memory or compiles, without the
interpreter's lock. Whichever worker gets the lock of the board starts `proto_model.registry.follow`, and
another one does when it is gone. No process needs to know the others.
"""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from proto_model.errors import ProtoModelError
from proto_model.registry.offer import Offer, follow_command, follow_environment, offer_stamp
from proto_model.serving.http.hosting import Hosted

logger = logging.getLogger(__name__)

TICK_S = 0.2
MAX_PAUSE_S = 60.0
END_S = 2.0  # what the process that follows gets to end
LEADER = "leader"


class Pause:
    """How long to wait after each failure in a row."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        """Whether to try again."""
        return time.monotonic() >= self._until

    def fail(self) -> bool:
        """Wait longer than the last time; whether it is the first failure."""
        is_first = not self._seconds
        self._seconds = min(max(1.0, 2 * self._seconds), MAX_PAUSE_S)
        self._until = time.monotonic() + self._seconds
        return is_first

    def reset(self) -> None:
        """There was a success."""
        self._seconds = self._until = 0.0


class Following:
    """Keeps the models of one worker at what is on offer."""

    def __init__(self, hosted: Hosted, board: Path) -> None:
        self._hosted = hosted
        self._board = board
        sources = hosted.hosting.sources
        self._places = [place for place, source in enumerate(sources) if source.model is None]
        self._pauses = {place: Pause() for place in self._places}
        self._stamps: dict[int, object] = {}
        self._taken = {place: offer.serial for place, offer in enumerate(hosted.offers) if offer is not None}
        self._told: dict[int, tuple[str, str]] = {}
        self._has_swapped = False
        self._leader = Leader(board, hosted.hosting.follow_s)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="following", daemon=True)

    def __enter__(self) -> Following:
        """Begin; to be called in the process that answers."""
        self._thread.start()
        return self

    def ask(self, *_: object) -> None:
        """Have the registry asked now: a signal's handler."""
        self._leader.is_asked = True

    def __exit__(self, *_: object) -> None:
        """End, and the process that follows with it."""
        self._ended.set()
        self._leader.stop()

    def _watch(self) -> None:
        pause = Pause()
        while not self._ended.wait(TICK_S):
            if self._has_swapped:
                # Some of a version refers to itself. Unasked, the collector comes after two hundred of them.
                self._has_swapped = False
                gc.collect()
            if not pause.is_over:
                continue
            try:
                self._leader.look()
                for place in self._places:
                    self._look(place)
                pause.reset()
            except OSError as error:  # no descriptors are left, or no space
                if pause.fail():
                    logger.error("Aliases are not followed for the moment: %s", error)

    def _look(self, place: int) -> None:
        """Take what is on offer, if that is something else."""
        source, pause = self._hosted.hosting.sources[place], self._pauses[place]
        stamp = offer_stamp(self._board, source.place)
        if not pause.is_over or (stamp == self._stamps.get(place)):
            return
        offer = Offer.read(self._board, source.place)
        self._hosted.offers[place] = offer
        name = self._hosted.models.all[place].name
        if self._leader.leads:
            self._tell(place, name, offer)
        if offer.serial != self._taken[place]:
            try:
                self._hosted.take(place, offer)
            except (ProtoModelError, OSError, MemoryError) as error:
                text = " ".join(str(error).split()) or type(error).__name__
                self._hosted.problems[place] = f"Version {offer.version} cannot be loaded: {text}"
                if pause.fail():
                    logger.error("model_name=%s %s", name, self._hosted.problems[place])
                return
            self._taken[place] = offer.serial
            self._has_swapped = True
            self._hosted.problems[place] = ""
            logger.info("model_name=%s model_version=%s answers from now on", name, offer.version)
        pause.reset()
        self._stamps[place] = stamp

    def _tell(self, place: int, name: str, offer: Offer) -> None:
        """Write a line when the state of following changes."""
        state = offer.problem, offer.wanted
        before = self._told.get(place, ("", ""))
        self._told[place] = state
        if state == before:
            return
        if offer.problem:
            logger.warning(
                "model_name=%s stays at version %s: problem=%s wanted_version=%s %s",
                name,
                offer.version,
                offer.problem,
                offer.wanted or "-",
                offer.detail,
            )
        else:
            logger.info("model_name=%s follows its alias again", name)


class Leader:
    """The process that follows, as long as this worker has the board's lock."""

    def __init__(self, board: Path, seconds: float | None) -> None:
        self.is_asked = False
        self._board = board
        self._seconds = seconds
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = Pause()
        self._stopping = threading.Lock()
        self._is_stopped = False
        self._started = 0.0

    @property
    def leads(self) -> bool:
        """Whether this worker keeps the process."""
        return self._lock is not None

    def look(self) -> None:
        """Start the process, pass on what was asked, and see whether it is still there."""
        if self._lock is None and not self._locked():
            self.is_asked = False  # the signal went to all workers
            return
        with self._stopping:
            if self._is_stopped:
                return
            if self._process is not None and self._process.poll() is not None:
                self._end(self._process.returncode)
            if self._process is None:
                if (self._seconds is not None or self.is_asked) and self._pause.is_over:
                    self.is_asked = False
                    self._start()
            elif self.is_asked and self._process.stdin is not None and self._seconds is not None:
                self.is_asked = False
                with suppress(OSError):  # it ends, and the next one asks at once
                    self._process.stdin.write(b"\n")
                    self._process.stdin.flush()

    def stop(self) -> None:
        """End the process."""
        with self._stopping:
            self._is_stopped = True
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_S)

    def _locked(self) -> bool:
        """Whether this worker has the lock from now on; the process that follows has it, too."""
        import fcntl

        descriptor = os.open(self._board / LEADER, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _start(self) -> None:
        assert self._lock is not None
        self._started = time.monotonic()
        try:
            with (self._board / "errors").open("wb") as errors:
                self._process = subprocess.Popen(
                    follow_command(self._board, self._seconds),
                    env=follow_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=(self._lock,),
                    start_new_session=True,  # the terminal's Ctrl+C is not for it
                )
        except OSError as error:
            if self._pause.fail():
                logger.error("The registry is not asked: %s", error)

    def _end(self, code: int) -> None:
        """Note that the process is gone; one that asks once ends by itself."""
        self._process = None
        if self._seconds is None:
            return
        if time.monotonic() - self._started > MAX_PAUSE_S:
            self._pause.reset()
        if self._pause.fail():
            lines = (self._board / "errors").read_text(encoding="utf-8", errors="replace").split("\n")
            reason = next((line for line in reversed(lines) if line), "")
            logger.error("The process that follows ended with %d; it is started again. %s", code, reason)
