"""Rows of MLflow's callers as requests to a deployment's server, and its answers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from proto_model.deployment.plugin.errors import DeploymentInputError
from proto_model.invocation.answer import answered_rows
from proto_model.invocation.http import endpoint, invoke
from proto_model.invocation.login import token_of, use_login
from proto_model.invocation.requests import request_body
from proto_model.invocation.rows import Record

_READY_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_WAIT_S = 10.0


def ask(url: str, inputs: Any, *, explain: bool) -> dict[str, Any]:
    """Answer of a server about rows; a ProtoModelError says what is wrong with them, or with it."""
    token = token_of(None, os.environ)
    if token:
        use_login(url, token, None)
    if isinstance(inputs, dict) and any(form in inputs for form in _READY_FORMS):
        path, body = "/invocations", dict(inputs)
        if explain:
            body["params"] = {**body.get("params", {}), "explain": True}
    else:
        path, body = request_body(records_of(inputs), through_mapper=False, explain=explain)
    answer = invoke(endpoint(url, path), body, wait_s=_WAIT_S)
    answered_rows(answer)
    return dict(answer)


def records_of(inputs: Any) -> list[Record]:
    """Rows as JSON has them, of a data frame, a record or a list of records."""
    if isinstance(inputs, pd.DataFrame):
        records = [
            {str(name): value for name, value in record.items()}
            for record in inputs.to_dict(orient="records")
        ]
    elif isinstance(inputs, dict):
        records = [inputs]
    else:
        records = inputs
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records) or not records:
        raise DeploymentInputError(
            f"{type(inputs).__name__} given, rows expected: a data frame, a record, a list of records, or "
            f"a body with one of {', '.join(_READY_FORMS)}."
        )
    return [{name: _plain(value) for name, value in record.items()} for record in records]


def _plain(value: Any) -> Any:
    """A value that JSON has; missing ones are null."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value.isoformat() if hasattr(value, "isoformat") else value
