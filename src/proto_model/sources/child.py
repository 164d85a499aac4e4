"""The process in which somebody's model source runs: `process` starts it and speaks with it.

It is run as a file, in whatever environment the source needs, so it imports nothing but Python's own library.
Requests and answers are lines of JSON on pipes of their own; what the source prints does not reach them.
"""

from __future__ import annotations

import datetime
import decimal
import importlib.util
import json
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterator
from typing import Any

MODULE = "model_source_code"
_DEPTH = 200


class NotJsonError(Exception):
    """A value that JSON cannot hold; the message says where it is, and what."""


class Plain:
    """Makes JSON of what functions give; counts the numbers that JSON has no words for."""

    def __init__(self) -> None:
        self.n_null = 0

    def __call__(self, value: Any, place: str = "the output", depth: int = 0) -> Any:
        """What JSON holds of a value; a NotJsonError says that it cannot."""
        if depth > _DEPTH:
            raise NotJsonError(f"{place[:80]}... is nested too deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, (float, decimal.Decimal)):
            return self._number(float(value))
        if isinstance(value, dict):
            return {_key(k, place): self(v, f"{place}[{k!r}]", depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(one, f"{place}[{n}]", depth + 1) for n, one in enumerate(value)]
        if isinstance(value, (datetime.date, datetime.time)):
            return None if value != value else value.isoformat()  # pandas' NaT
        return self._of_library(value, place, depth)

    def _number(self, value: float) -> float | None:
        if value - value == 0:
            return value
        self.n_null += 1
        return None

    def _of_library(self, value: Any, place: str, depth: int) -> Any:
        library, kind = type(value).__module__.partition(".")[0], type(value).__name__
        if library == "numpy" and hasattr(value, "tolist"):
            plain = value.tolist()
            if type(plain) is not type(value):
                return self(plain, place, depth + 1)
        if library == "pandas":
            if kind == "DataFrame":
                return self(value.to_dict(orient="records"), place, depth + 1)
            if hasattr(value, "to_dict"):
                return self(value.to_dict(), place, depth + 1)
            if kind in ("NAType", "NaTType"):
                return None
            if hasattr(value, "tolist"):
                return self(value.tolist(), place, depth + 1)
        raise NotJsonError(f"{place} is of type {type(value).__qualname__}, which JSON cannot hold")


def _key(key: Any, place: str) -> str:
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, (bool, int, float)) or type(key).__module__ == "numpy":
        return str(key)
    raise NotJsonError(f"{place} has a key of type {type(key).__qualname__}, which JSON cannot hold")


class TooLargeError(Exception):
    """A function gave more than is taken."""


def _lines(value: Any, plain: Plain, most: int) -> Iterator[str]:
    """JSON of each thing that a function gave: all that it yields, or what it returns unless that is None."""
    given = value if isinstance(value, types.GeneratorType) else () if value is None else (value,)
    n_bytes = 0
    for one in given:
        try:
            text = json.dumps({"value": plain(one)})
        except NotJsonError as error:
            text = json.dumps({"fault": str(error)})
        n_bytes += len(text)
        if n_bytes > most:
            raise TooLargeError
        yield text


class Child:
    """Loads the source of the working directory, and calls its functions."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._module: Any = None

    def answer(self, request: dict[str, Any]) -> str:
        """JSON text that answers a request."""
        try:
            text: str = getattr(self, f"_{request.pop('do')}")(**request)
            return text
        except TooLargeError:
            return json.dumps({"ended": "too_large"})
        except MemoryError:
            return json.dumps({"ended": "memory"})
        except SystemExit as error:
            return json.dumps({"ended": "exit", "text": str(error.code)})
        except BaseException as error:  # whatever a foreign source raises is an answer, too
            return json.dumps({"raised": _raised(error)})

    def _load(self) -> str:
        path = os.path.abspath(f"{MODULE}.py")
        spec: Any = importlib.util.spec_from_file_location(MODULE, path)
        self._module = importlib.util.module_from_spec(spec)
        sys.modules[MODULE] = self._module
        spec.loader.exec_module(self._module)
        return '{"outputs": [], "nulls": 0}'

    def _call(self, name: str, arguments: list[Any]) -> str:
        return self._outputs(name, arguments)

    def _set(self, name: str, path: str, columns: list[str]) -> str:
        import pandas as pd

        with open(path, encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        plain = all(isinstance(one, dict) for one in records)
        frame = pd.DataFrame(records, columns=None if not plain or records else columns)
        del records
        return self._outputs(name, [frame])

    def _outputs(self, name: str, arguments: list[Any]) -> str:
        function = getattr(self._module, name, None)
        if not callable(function):
            raise NameError(f"{name} is no function any more once the source is loaded")
        plain = Plain()
        outputs = ", ".join(_lines(function(*arguments), plain, self._most))
        return f'{{"outputs": [{outputs}], "nulls": {plain.n_null}}}'


def _raised(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if os.path.basename(frame.filename) == f"{MODULE}.py"]
    if isinstance(error, SyntaxError) and not own:
        own = [error.lineno]
    names = {f"{one.__module__}.{one.__name__}" for one in type(error).__mro__}
    traceback.print_exception(type(error), error, error.__traceback__)  # into the log
    return {
        "type": type(error).__name__,
        "text": str(error)[:2000],
        "line": own[-1] if own else None,
        "rejects": "proto_model.errors.InputError" in names,
    }


def _limit(limits: dict[str, int]) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is not None and value is not None:
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            try:
                # A process that ignores the signal of its CPU time's end is killed a second later.
                above = most + 1 if name == "RLIMIT_CPU" and hard == resource.RLIM_INFINITY else most
                resource.setrlimit(kind, (most, above))
            except (ValueError, OSError) as error:  # macOS has no limit of the address space
                print(f"{name} cannot be limited here: {error}", file=sys.stderr)


def _end_with(descriptor: int) -> None:
    """End this process and those that it started when the one that started it has gone."""

    def wait() -> None:
        os.read(descriptor, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main(argv: list[str]) -> None:
    """Arguments: descriptors of requests, answers and lifeline, bytes of an answer at most, and limits."""
    requests, answers, lifeline, most = map(int, argv[:4])
    for descriptor in (requests, answers, lifeline):
        os.set_inheritable(descriptor, False)
    _end_with(lifeline)
    _limit(json.loads(argv[4]))
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.getcwd(), *(path for path in sys.path if path != here)]
    own = os.getpid()
    child = Child(most)
    with os.fdopen(requests, "rb") as lines, os.fdopen(answers, "wb") as out:
        for line in lines:
            answer = child.answer(json.loads(line))
            if os.getpid() != own:  # a process that the source forked, and that came back
                os._exit(0)
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError, AttributeError):  # the source closed or replaced it
                    pass
            out.write(answer.encode("ascii") + b"\n")
            out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
