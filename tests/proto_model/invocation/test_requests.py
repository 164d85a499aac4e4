import pytest

from proto_model.invocation.http import InvocationError
from proto_model.invocation.requests import job_body, job_summary, request_body


def test_requests_are_written_for_either_server():
    records = [{"a": 1}, {"a": 2, "b": "x"}]

    assert request_body(records, through_mapper=False, explain=True) == (
        "/invocations",
        {
            "dataframe_split": {"columns": ["a", "b"], "data": [[1, None], [2, "x"]]},
            "params": {"explain": True},
        },
    )
    assert request_body(records, through_mapper=True, explain=True) == ("/v1/explain", {"data": records})
    assert request_body(records, through_mapper=True, explain=False) == ("/v1/predict", {"data": records})


def test_jobs_are_written_for_either_server():
    job = {"input_url": "a", "output_url": "b"}
    params = {"output_format": "csv"}

    assert job_body(job, params, through_mapper=False, explain=True) == (
        "/invocations",
        {"dataframe_records": [job], "params": {"output_format": "csv", "explain": True}},
    )
    assert job_body(job, params, through_mapper=True, explain=True) == (
        "/v1/explain",
        {"file": job, "parameters": params},
    )


def test_the_summary_of_a_job_is_found_in_either_answer():
    summary = {"status": "done"}

    assert job_summary({"predictions": [summary]}) == summary
    assert job_summary({"file": summary, "model": {}}) == summary
    with pytest.raises(InvocationError, match="No summary"):
        job_summary({"predictions": [{"prediction": 1}]})
