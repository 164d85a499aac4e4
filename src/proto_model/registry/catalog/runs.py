"""Runs of many versions in few calls."""

from __future__ import annotations

from collections.abc import Iterable

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from proto_model.registry.versions import visible

_BATCH = 100  # ids in one filter; each has 32 characters


def runs_of(client: MlflowClient, run_ids: Iterable[str | None]) -> dict[str, Run]:
    """Runs by id, those in the trash, too; what is gone is left out.

    MLflow searches by experiment, and a version does not say which one its run is in: of what is left, the
    first is asked for by itself, and then all of its experiment.
    """
    left = list(dict.fromkeys(run_id for run_id in run_ids if run_id))
    runs: dict[str, Run] = {}
    while left:
        first = visible(client.get_run, left[0])
        left = left[1:]
        if first is None:
            continue
        runs[first.info.run_id] = first
        for start in range(0, len(left), _BATCH):
            quoted = ", ".join(f"'{run_id}'" for run_id in left[start : start + _BATCH] if run_id.isalnum())
            if not quoted:
                continue
            page = client.search_runs(
                [first.info.experiment_id], f"attributes.run_id IN ({quoted})", ViewType.ALL, _BATCH
            )
            runs |= {run.info.run_id: run for run in page}
        left = [run_id for run_id in left if run_id not in runs]
    return runs


def experiments_of(runs: Iterable[Run]) -> list[str]:
    """Experiments that the runs are in, each once."""
    return list(dict.fromkeys(run.info.experiment_id for run in runs))
