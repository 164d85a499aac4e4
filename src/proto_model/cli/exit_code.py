"""How a command ends: with its own exit code, or with a sentence on stderr about what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from proto_model.errors import ProtoModelError

__all__ = ["FAILED", "INTERRUPTED", "exit_code"]

FAILED = 1
INTERRUPTED = 130


def exit_code(command: Callable[[], int]) -> int:
    """What a command returns, or 1 if it failed and 130 if it was interrupted."""
    try:
        return command()
    except ProtoModelError as error:
        said = f"error: {error}"
    except _mlflow_errors() as error:
        said = f"error: {_of_mlflow(error)}"
    except OSError as error:
        said = f"error: cannot read or write a file: {error}"
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    print(said, file=sys.stderr)
    return FAILED


def _mlflow_errors() -> tuple[type[Exception], ...]:
    """MLflow's exception, if the command has imported MLflow; to import it here would take two seconds."""
    module = sys.modules.get("mlflow.exceptions")
    return () if module is None else (module.MlflowException,)


def _of_mlflow(error: Exception) -> str:
    import mlflow

    from proto_model.registry.refusals import refusal
    from proto_model.registry.tracking import without_credentials

    reason = refusal(error)
    said = str(reason) if reason is not None else getattr(error, "message", error)
    return without_credentials(f"MLflow at {mlflow.get_tracking_uri()}: {said}")
