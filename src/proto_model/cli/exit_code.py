"""How a command ends: with its own exit code, or with a sentence on stderr about what went wrong.

0: done. 1: it failed, or the answer is no. 2: what was given is wrong (an option, a name, a file, a setting);
to type the same again does not help. 130: interrupted. docs/commands.md says which commands have others.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from proto_model.errors import CallerError, ProtoModelError

__all__ = [
    *("DONE", "FAILED", "INTERRUPTED", "WRONG"),
    *("exit_code", "failures", "interrupted", "reason", "tell", "told"),
]

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

PREFIX = "error: "
"""Of every sentence that says why a command did not do what it was asked to."""


def exit_code(command: Callable[[], int], failed: Callable[[Exception], int] | None = None) -> int:
    """What a command returns, or the code of its failure, which is told; `failed` may give another code."""
    try:
        return command()
    except KeyboardInterrupt:
        return interrupted()
    except Exception as error:
        if not isinstance(error, failures()):
            raise
        code = told(error)
        return code if failed is None else failed(error)


def failures() -> tuple[type[Exception], ...]:
    """What may go wrong without a mistake of this program; MLflow's are among them once it is loaded."""
    # To import it here would take two seconds.
    module = sys.modules.get("mlflow.exceptions")
    return (ProtoModelError, OSError, *(() if module is None else (module.MlflowException,)))


def told(error: Exception) -> int:
    """Tell why a command failed; its exit code."""
    tell(reason(error))
    return WRONG if isinstance(error, CallerError) else FAILED


def tell(text: str) -> None:
    """Write why a command ends to stderr."""
    print(f"{PREFIX}{text}", file=sys.stderr, flush=True)


def interrupted() -> int:
    """Say that the user ended the command; its exit code."""
    with contextlib.suppress(OSError):  # of a terminal that is gone
        print("interrupted", file=sys.stderr, flush=True)
    return INTERRUPTED


def reason(error: Exception) -> str:
    """What an error says, without passwords, and without characters that a terminal obeys."""
    if isinstance(error, ProtoModelError):
        return _printable(str(error))
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename is not None else ""
        return _printable(f"Cannot read or write{where or ' a file'}: {error.strerror or error}.")
    return _printable(_of_mlflow(error))


def _printable(text: str) -> str:
    from proto_model.registry.tracking import printable, without_credentials

    return printable(without_credentials(text))


def _of_mlflow(error: Exception) -> str:
    import mlflow

    from proto_model.registry.refusals import in_words

    return f"MLflow at {mlflow.get_tracking_uri()}: {in_words(error)}"
