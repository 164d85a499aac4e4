"""Register the version of a package in another registry: whole, or not at all."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.example import differences
from proto_model.deployment.package.facts import IMPORTED, VersionFacts
from proto_model.deployment.package.layout import (
    CARD,
    EXAMPLE,
    MANIFEST,
    MODEL,
    MODEL_BUNDLE,
    PROVENANCE,
    PUBLICATION,
    VERSION,
)
from proto_model.deployment.package.model import PackagedModel
from proto_model.deployment.package.opening import opened_package
from proto_model.deployment.package.trust import examined, read_facts
from proto_model.errors import InputError
from proto_model.model import Bundle
from proto_model.registry.publishing import Trust, Verdict
from proto_model.registry.publishing.manifest import sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient

ORIGIN = "origin"
"""Folder of the run's artifacts with what the other registry knew: publication and `version.json`."""

_EXPERIMENT = "Default"
_TOLD_BEFORE = re.compile(r"as .+ \d+(:|$)")  # an event that was imported once already
_N_LOGGED = 100  # metrics and parameters in one request


@dataclass(frozen=True)
class Imported:
    """A version that was registered, and which one it was before."""

    model: str
    version: str
    before: VersionFacts
    verdict: Verdict | None
    n_rows: int

    def to_dict(self) -> dict[str, object]:
        """JSON object."""
        return {
            "name": self.model,
            "version": int(self.version),
            "from": {"name": self.before.model, "version": self.before.version},
            "published_at": (self.verdict and self.verdict.published_at) or None,
            "signer": (self.verdict and self.verdict.signer) or None,
            "events": len(self.before.events),
        }


def import_package(
    source: Path,
    *,
    name: str = "",
    alias: str = "",
    experiment: str = _EXPERIMENT,
    trust: Trust | None = None,
    client: MlflowClient | None = None,
) -> Imported:
    """Register the version of a package, with description, tags, metrics, events and provenance.

    Nothing of the package is run. It is registered only if its files are those of its manifest, it is what
    was published, if it was, and it predicts what it did when the package was made.

    Parameters
    ----------
    source : Path
        Folder or zip file.
    name : str
        Registered model, by default of the same name as before; it is created if there is none.
    alias : str
        Alias of the new version, none by default.
    experiment : str
        Experiment of its run, which is created if there is none.
    trust : Trust, optional
        What is asked of the version.

    Raises
    ------
    PackageError, PublicationError, ArtifactError
        If something of the package is not as it was written; then nothing is registered.
    """
    import mlflow

    from proto_model.registry.catalog.naming import Named
    from proto_model.registry.patience import patient
    from proto_model.registry.tracking import check_store

    with opened_package(source) as folder:
        facts = read_facts(folder)
        name = name or facts.model
        if Named.of(name).is_version:
            raise InputError(f"{name!r} is no name of a model.")
        verdict = examined(folder, facts, trust or Trust())
        n_rows = _check_answers(folder)
        check_store(mlflow.get_tracking_uri(), may_create=True)
        registration = _Registration(patient(client or mlflow.MlflowClient()), name, facts, folder)
        version = registration.register(_tags(facts, verdict, folder), alias, experiment)
    return Imported(name, version, facts, verdict, n_rows)


def _check_answers(folder: Path) -> int:
    """How many rows of the example the model answers as it did; raises PackageError if it does not."""
    n_rows, found = differences(folder / EXAMPLE, PackagedModel(Bundle.load(folder / MODEL_BUNDLE)))
    if found:
        raise PackageError(f"The model gives other predictions than {EXAMPLE} of its package: {found[0]}.")
    return n_rows


def _tags(facts: VersionFacts, verdict: Verdict | None, folder: Path) -> dict[str, str]:
    """Tags of the new version, among them its history."""
    from proto_model.registry.events import event_tag

    origin = {
        "name": facts.model,
        "version": facts.version,
        "created": facts.created,
        "package_sha256": sha256((folder / MANIFEST).read_bytes()),
    }
    if verdict is not None:
        origin |= {
            "published_at": verdict.published_at,
            "published_by": verdict.published_by,
            "signer": verdict.signer,
        }
    tags = dict(facts.tags) | {IMPORTED: json.dumps(origin, ensure_ascii=False)}
    for event in facts.events:
        at = datetime.fromisoformat(event.at or facts.created) if event.at or facts.created else None
        what = event.what
        if not _TOLD_BEFORE.match(what):
            what = f"as {facts.title}" + (f": {what}" if what else "")
        key, value = event_tag(event.kind, what, at=at, by=event.by)
        tags[key] = value
    key, value = event_tag("imported", f"from a package of {facts.title}")
    return tags | {key: value}


@dataclass(frozen=True)
class _Registration:
    """What is made of a package in a registry; if a step fails, all that was made before it is removed."""

    client: MlflowClient
    name: str
    facts: VersionFacts
    folder: Path

    def register(self, tags: Mapping[str, str], alias: str, experiment: str) -> str:
        """Number of the new version."""
        from proto_model.registry.versions import register_version

        with contextlib.ExitStack() as undo:
            undo.callback(self._forget_model, self._is_known())
            experiment_id = self._experiment(experiment)
            run_id = self._run(experiment_id)
            undo.callback(self.client.delete_run, run_id)
            self._log(run_id)
            model = self.client.create_logged_model(
                experiment_id, name="model", source_run_id=run_id, params=_texts(self.facts.params)
            )
            undo.callback(self.client.delete_logged_model, model.model_id)
            self.client.log_model_artifacts(model.model_id, str(self.folder / MODEL))
            self.client.finalize_logged_model(model.model_id, "READY")
            self.client.set_terminated(run_id, end_time=self._began())
            undo.callback(self._forget_version, run_id)
            version = register_version(
                f"models:/{model.model_id}",
                self.name,
                run_id=run_id,
                description=self.facts.description,
                tags=tags,
                alias=alias or None,
                client=self.client,
            )
            undo.pop_all()
        return str(version.version)

    def _is_known(self) -> bool:
        from proto_model.registry.versions import found

        return found(self.client.get_registered_model, self.name) is not None

    def _forget_model(self, was_known: bool) -> None:
        """Remove the registered model if this made it, and nobody has put a version there since."""
        from proto_model.registry.versions import versions_of

        if not was_known and self._is_known() and next(versions_of(self.client, self.name), None) is None:
            self.client.delete_registered_model(self.name)

    def _forget_version(self, run_id: str) -> None:
        """Remove the version of a run, of which MLflow may have made one although the call failed."""
        from proto_model.registry.versions import versions_of

        for version in list(versions_of(self.client, self.name, f"run_id = '{run_id}'")):
            self.client.delete_model_version(self.name, str(version.version))

    def _experiment(self, name: str) -> str:
        known = self.client.get_experiment_by_name(name)
        return str(self.client.create_experiment(name) if known is None else known.experiment_id)

    def _began(self) -> int | None:
        """When the version was made, in MLflow's milliseconds."""
        return _milliseconds(self.facts.created) if self.facts.created else None

    def _run(self, experiment_id: str) -> str:
        """A run in place of the one that trained the version, of the same time and user."""
        tags = {"mlflow.user": self.facts.author or "unknown"}
        if "variant" in self.facts.tags:
            tags["variant"] = self.facts.tags["variant"]
        run_name = f"{self.facts.title}, imported"
        run = self.client.create_run(experiment_id, start_time=self._began(), tags=tags, run_name=run_name)
        return str(run.info.run_id)

    def _log(self, run_id: str) -> None:
        """Metrics, hyperparameters, data sets and files of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        at = self._began() or 0
        metrics = [Metric(key, float(value), at, 0) for key, value in sorted(self.facts.metrics.items())]
        params = [Param(key, text) for key, text in _texts(self.facts.params).items()]
        for start in range(0, max(len(metrics), len(params)), _N_LOGGED):
            part = slice(start, start + _N_LOGGED)
            self.client.log_batch(run_id, metrics[part], params[part])
        sets = [one for one in self.facts.data_sets if {"name", "digest", "context"} <= one.keys()]
        inputs = [
            DatasetInput(
                Dataset(one["name"], one["digest"], "package", json.dumps({"version": self.facts.title})),
                [InputTag(MLFLOW_DATASET_CONTEXT, one["context"])],
            )
            for one in sets
        ]
        if inputs:
            self.client.log_inputs(run_id, inputs)
        if (self.folder / CARD).is_file():
            self.client.log_artifact(run_id, str(self.folder / CARD))
        if (self.folder / PROVENANCE).is_dir():
            self.client.log_artifacts(run_id, str(self.folder / PROVENANCE), Path(PROVENANCE).name)
        self.client.log_artifact(run_id, str(self.folder / VERSION), ORIGIN)
        if (self.folder / PUBLICATION).is_dir():
            self.client.log_artifacts(run_id, str(self.folder / PUBLICATION), ORIGIN)


def _texts(params: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in sorted(params.items())}


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
