"""Paths and JSON bodies of requests, to a model server and to the mapper."""

from __future__ import annotations

from typing import Any

from proto_model.invocation.http import InvocationError
from proto_model.invocation.rows import Record

Body = dict[str, Any]


def request_body(records: list[Record], *, through_mapper: bool, explain: bool) -> tuple[str, Body]:
    """Path below the server's URL and JSON body of the request for some rows."""
    if through_mapper:
        return _mapper_path(explain), {"data": records}
    columns = list(dict.fromkeys(name for record in records for name in record))
    body: Body = {
        "dataframe_split": {
            "columns": columns,
            "data": [[record.get(name) for name in columns] for record in records],
        }
    }
    if explain:
        body["params"] = {"explain": True}
    return "/invocations", body


def job_body(
    job: dict[str, str], params: dict[str, Any], *, through_mapper: bool, explain: bool
) -> tuple[str, Body]:
    """Path and body of the request to score a file behind presigned URLs."""
    if through_mapper:
        return _mapper_path(explain), {"file": job, "parameters": params}
    return "/invocations", {
        "dataframe_records": [job],
        "params": {**params, **({"explain": True} if explain else {})},
    }


def job_summary(answer: Any) -> dict[str, Any]:
    """Summary of the job in an answer to it."""
    found = answer.get("file") if isinstance(answer, dict) else None
    if found is None:
        rows = answer.get("predictions") if isinstance(answer, dict) else None
        found = rows[0] if isinstance(rows, list) and len(rows) == 1 else None
    if not isinstance(found, dict) or "status" not in found:
        raise InvocationError(f"No summary of the job in the answer: {str(answer)[:500]}")
    return found


def _mapper_path(explain: bool) -> str:
    return "/v1/explain" if explain else "/v1/predict"
