"""A process with limits that runs a model source, and answers one call after the other."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto_model.errors import CallerError, ProtoModelError, counted
from proto_model.sources.ending import MARK, end_all
from proto_model.sources.limits import Limits

CHILD = Path(__file__).with_name("child.py")

_LOOK_S = 0.25  # a process may have ended while one that it forked keeps the pipe open
_ENDING_S = 3.0


class SourceEndedError(ProtoModelError):
    """The process of a source ended, or was ended, before it answered; the message is a sentence."""


class SourceSlowError(SourceEndedError):
    """The process of a source was ended because it took too long."""


class NoPythonError(SourceEndedError, CallerError):
    """The Python that was named for a source cannot be started."""


@dataclass(frozen=True)
class Raised:
    """What a function raised; `rejects` says that it is this project's own refusal of a row."""

    type: str
    text: str
    line: int | None
    rejects: bool

    def sentence(self, function: str) -> str:
        """In words."""
        if self.rejects:
            return self.text
        where = "" if self.line is None else f" in line {self.line}"
        said = f": {self.text}" if self.text else ""
        return f"{function} raised {self.type}{where}{said}"


@dataclass(frozen=True)
class Answer:
    """What a call gave.

    `outputs` are JSON values, `faults` say of others why JSON cannot hold them, and `n_nulls` counts numbers
    that were not finite, which are null now. `raised` is what it raised instead.
    """

    outputs: tuple[Any, ...] = ()
    faults: tuple[str, ...] = ()
    n_nulls: int = 0
    raised: Raised | None = None


class SourceProcess:
    """The process; not safe to share between threads. Its folder is its working directory."""

    def __init__(self, folder: Path, limits: Limits, environment: Mapping[str, str], python: str) -> None:
        self._limits = limits
        self._mark = secrets.token_hex(16)
        with contextlib.ExitStack() as opened:
            theirs_in, self._requests = _pipe(opened)
            self._answers, theirs_out = _pipe(opened)
            theirs_life, self._lifeline = _pipe(opened)
            passed = (theirs_in, theirs_out, theirs_life)
            arguments = [*map(str, passed), str(limits.output_bytes), json.dumps(limits.of_process())]
            try:
                self._process = subprocess.Popen(
                    [python, str(CHILD), *arguments],
                    cwd=folder,
                    env={**environment, MARK: self._mark},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=passed,
                    start_new_session=True,
                )
            except OSError as error:
                raise NoPythonError(
                    f"Cannot start {python}: {error.strerror}. Give another Python."
                ) from error
            opened.pop_all()
        for descriptor in passed:
            os.close(descriptor)
        self._left = b""
        self._log = _Log(self._process.stdout, limits.log_kb * 1024)

    @property
    def log(self) -> str:
        """What the source printed so far, as far as it is kept."""
        return self._log.text()

    def load(self, deadline: float) -> Answer:
        """Run the source's own lines."""
        return self._ask({"do": "load"}, deadline)

    def call(self, name: str, arguments: Sequence[Any], deadline: float) -> Answer:
        """Call a function with JSON values; `deadline` is of `time.monotonic`.

        A SourceEndedError says that the process ended, or was ended because it took too much.
        """
        return self._ask({"do": "call", "name": name, "arguments": list(arguments)}, deadline)

    def call_with_table(self, name: str, path: Path, columns: Sequence[str], deadline: float) -> Answer:
        """Call a function with a data frame of a file of JSON lines; `columns` are those of an empty one."""
        return self._ask({"do": "set", "name": name, "path": str(path), "columns": list(columns)}, deadline)

    def close(self) -> None:
        """End the process and all that it started."""
        for descriptor in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S if self._process.poll() is None and not self._is_killed() else 0)
        self.kill()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        self._log.end()

    def __enter__(self) -> SourceProcess:
        """The process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def _ask(self, request: dict[str, Any], deadline: float) -> Answer:
        try:
            _write(self._requests, json.dumps(request).encode("ascii") + b"\n", deadline)
            line = self._line(deadline)
        except TimeoutError:
            self.kill()
            raise SourceSlowError(
                f"The source did not answer within {self._limits.timeout_s:g} s and was ended. Give it "
                "more with --timeout, or fewer records."
            ) from None
        except (BrokenPipeError, EOFError):
            raise SourceEndedError(self._why_ended()) from None
        return self._answer(json.loads(line))

    def _answer(self, answer: dict[str, Any]) -> Answer:
        ended = answer.get("ended")
        if ended is not None:
            self.kill()
            raise SourceEndedError(
                {
                    "memory": f"The source needs more than {self._limits.memory_mb:,} MB of memory. Give it "
                    "more with --memory, or fewer records.",
                    "too_large": f"The source gave more than {self._limits.output_mb:,} MB at once.",
                }.get(ended, f"The source ended its process by sys.exit({answer.get('text')}).")
            )
        if "raised" in answer:
            return Answer(raised=Raised(**answer["raised"]))
        outputs = answer["outputs"]
        return Answer(
            tuple(one["value"] for one in outputs if "value" in one),
            tuple(one["fault"] for one in outputs if "fault" in one),
            answer["nulls"],
        )

    def _line(self, deadline: float) -> bytes:
        parts = [self._left]
        while b"\n" not in parts[-1]:
            wait = min(_LOOK_S, deadline - time.monotonic())
            if wait <= 0:
                raise TimeoutError
            if _ready(self._answers, select.POLLIN, wait):
                chunk = os.read(self._answers, 1 << 16)
                if not chunk:
                    raise EOFError
                parts.append(chunk)
            elif self._process.poll() is not None:
                raise EOFError
        line, _, self._left = b"".join(parts).partition(b"\n")
        return line

    def _why_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S)
        status = self._process.poll()
        self.kill()
        if status is None:
            return "The source closed its connection to the runtime and was ended."
        if status >= 0:
            return f"The source ended its process with exit status {status}."
        name = signal.Signals(-status).name
        if name == "SIGXCPU":
            return "The source used more CPU time than it may and was ended. Give it more with --timeout."
        hint = " Memory may have run out." if name in ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS") else ""
        return f"The source's process was ended by the signal {name}.{hint}"

    def _is_killed(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the process with all that it started."""
        end_all(self._process, self._mark)


def _pipe(opened: contextlib.ExitStack) -> tuple[int, int]:
    pair = os.pipe()
    for descriptor in pair:
        opened.callback(os.close, descriptor)
    return pair


def _ready(descriptor: int, event: int, wait_s: float) -> bool:
    """Whether a pipe can be used before long, if only to learn that the other end is closed."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(1000 * wait_s))


def _write(descriptor: int, content: bytes, deadline: float) -> None:
    """Write all; a TimeoutError says that nobody read it in time."""
    os.set_blocking(descriptor, False)
    view = memoryview(content)
    while view:
        wait = deadline - time.monotonic()
        if wait <= 0 or not _ready(descriptor, select.POLLOUT, wait):
            raise TimeoutError
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(descriptor, view) :]


class _Log:
    """Reads what a process prints, all of it, and keeps the beginning."""

    def __init__(self, pipe: Any, most: int) -> None:
        self._pipe, self._most = pipe, most
        self._kept, self._n_bytes = bytearray(), 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := self._pipe.read1(1 << 16):
                self._kept += chunk[: self._most - len(self._kept)]
                self._n_bytes += len(chunk)

    def text(self) -> str:
        rest = self._n_bytes - len(self._kept)
        more = f"\n[{counted(rest, 'more byte')} not kept]\n" if rest else ""
        return bytes(self._kept).decode("utf-8", "replace") + more

    def end(self) -> None:
        self._thread.join(_ENDING_S)
