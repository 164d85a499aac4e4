"""What an MLflow server with basic-auth refuses, in a sentence: who may not do what, and what allows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import read_mlflow_creds

from proto_model.errors import RegistryError

_DENIED = "Permission denied"
"""All that basic-auth answers to who may not; other refusals have reasons of their own."""

_NOT_AUTHENTICATED = "failed with error code 401"

LOGIN = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or write them to ~/.mlflow/credentials."

_TWIN = "_explainer"
# Of one who may edit; MLflow asks for MANAGE to delete anything else of a registered model.
_EDITS = ("delete_registered_model_tag", "delete_tag", "delete_experiment_tag")


class NotAllowedError(RegistryError):
    """MLflow's server does not let this user do that."""


def refusal(error: Exception, call: str = "", arguments: Sequence[Any] = ()) -> NotAllowedError | None:
    """The sentence for an error of MLflow's, by a call of its client; None if it is about something else."""
    if is_unknown_user(error):
        return NotAllowedError(f"MLflow does not know this name and password. {LOGIN}")
    reason = _reason(error)
    if reason is None:
        return None
    if reason != _DENIED:
        return NotAllowedError(reason)
    user = read_mlflow_creds().username
    who, granted = (repr(user), user) if user else ("This user", "USER")
    right = _right(call)
    if _is_of_a_model(call) and arguments:
        name = str(arguments[0])
        what = {"READ": "read", "EDIT": "change", "MANAGE": "delete anything of"}[right]
        denied = f"{who} may not {what} the registered model {name!r}."
        grant = f"access grant {granted} --model {name.removesuffix(_TWIN)} {right}"
    elif call:
        what = {"READ": "read", "EDIT": "write to", "MANAGE": "delete anything of"}[right]
        denied = f"{who} may not {what} that experiment and its runs ({call})."
        grant = f"access grant {granted} --model NAME {right} --experiment"
    else:
        denied = f"{who} may not do that."
        grant = f"access grant {granted} --model NAME RIGHT --experiment"
    return NotAllowedError(
        f"{denied} Whoever manages it, or an administrator, allows that: python -m proto_model {grant}"
    )


def in_words(error: Exception) -> str:
    """What an error says, on one line; a refusal in a sentence."""
    return " ".join(str(refusal(error) or error).split())


def is_unknown_user(error: Exception) -> bool:
    """Whether a server asked for a name and a password, and those given were none or wrong."""
    if isinstance(error, MlflowException):
        return _NOT_AUTHENTICATED in str(error)
    answer: Any = getattr(error, "response", None)
    return answer is not None and answer.status_code == HTTPStatus.UNAUTHORIZED


def _reason(error: Exception) -> str | None:
    """What a server says that refuses with 403; None for any other error."""
    if isinstance(error, MlflowException):
        if error.error_code != "PERMISSION_DENIED":
            return None
        return _DENIED if f"'{_DENIED}'" in error.message else str(error.message)
    answer: Any = getattr(error, "response", None)  # of requests, for files
    if answer is None or answer.status_code != HTTPStatus.FORBIDDEN:
        return None
    text = str(answer.text)
    try:
        return str(json.loads(text)["message"])
    except (ValueError, TypeError, KeyError):
        return _DENIED


def _is_of_a_model(call: str) -> bool:
    return "registered_model" in call or ("model_version" in call and not call.startswith("search_"))


def _right(call: str) -> str:
    if call.startswith("delete_") and call not in _EDITS:
        return "MANAGE"
    return "READ" if call.startswith(("get_", "search_", "list_", "download_")) else "EDIT"
