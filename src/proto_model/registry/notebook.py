"""Versions from a notebook: a fitted pipeline becomes one, with all that a training run gives a version."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved
from rich.console import Console
from sklearn.pipeline import Pipeline

from proto_model.errors import DataError, InputError, listed
from proto_model.model import Bundle
from proto_model.model.decision import PLAIN
from proto_model.registry import record
from proto_model.registry.catalog.editing import Edit, Edited, checked_description, edit_version
from proto_model.registry.catalog.naming import Named, living_version
from proto_model.registry.catalog.sheet import read_sheet
from proto_model.registry.cautions import caution_tags, log_cautions, show_cautions
from proto_model.registry.details import Details, checked_labels, checked_object, checked_records
from proto_model.registry.format_records import FormatRecord
from proto_model.registry.formats import add_format, delete_format, download_format, version_formats
from proto_model.registry.logged_model import log_explainer, log_forest_model
from proto_model.registry.patience import patient
from proto_model.registry.publishing import Manifest, publish
from proto_model.registry.tracking import check_store, warnings_shown_once
from proto_model.registry.versions import explainer_name, register_version, set_alias, versions_of
from proto_model.table import TrainingData
from proto_model.table.cautions import data_cautions
from proto_model.table.given import given_data, given_frames
from proto_model.table.split_cautions import split_cautions
from proto_model.training import SearchResult
from proto_model.training.adoption import adopted, check_same, forest_of, with_known_levels
from proto_model.training.background import StoredBackground
from proto_model.training.calibration import CalibrationChoice
from proto_model.training.decision import FoundDecision
from proto_model.training.dictionary import Document, coverage_text, described, read_document
from proto_model.training.evaluation import Verdict, judge

_VARIANTS = {"RandomForestClassifier": "random_forest", "ExtraTreesClassifier": "extra_trees"}


class About(TypedDict, total=False):
    """What a user says of a new version."""

    description: str
    tags: Sequence[str]
    config: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    records: Sequence[str]
    dictionary: str | Path | Mapping[str, Any]
    alias: str
    unseen: Literal["missing"]


class Registry:
    """MLflow's model registry, by default the one that MLflow's environment variables name.

    Examples
    --------
    Six lines in a notebook::

        from proto_model import Registry
        model = Registry().model("churn")
        version = model.new_version(pipeline, X, y, X_test=X_test, y_test=y_test, description="...")
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        if tracking_uri is not None:
            mlflow.set_tracking_uri(tracking_uri)
        check_store(mlflow.get_tracking_uri(), may_create=True)
        self._client = patient(MlflowClient())

    def model(self, name: str) -> Model:
        """A registered model, which is created if there is none; an InputError says that this is no name."""
        if not name.strip() or Named.of(name).is_version:
            raise InputError(f"{name!r} is no name of a model.")
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
                raise
        return Model(name, self._client)


@dataclass(frozen=True)
class Model:
    """A registered model."""

    name: str
    _client: MlflowClient

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        return [
            Version(self.name, str(one.version), self._client) for one in versions_of(self._client, self.name)
        ]

    def version(self, which: str | int) -> Version:
        """A version by number or alias; a RegistryError says that there is none."""
        sign = "/" if str(which).isdecimal() else "@"
        found = living_version(self._client, f"{self.name}{sign}{which}")
        return Version(self.name, str(found.version), self._client)

    def new_version(
        self, pipeline: Pipeline, X: Any, y: Any, *, X_test: Any, y_test: Any, **about: Unpack[About]
    ) -> Version:
        """Register a fitted scikit-learn pipeline that ends in a random forest or in extra trees.

        The version has schema, engine, explanations, the files of a mapper, and a model card, as one has that
        this project trained. It answers exactly as the pipeline does, which is verified before it appears.

        Parameters
        ----------
        pipeline : Pipeline
            Fitted. What it may do before the forest is in `proto_model.training.adoption.TAKEN`.
        X, y : table or array, and labels
            The rows that it was fitted on.
        X_test, y_test : table or array, and labels
            Rows that it has not learned from: it is judged on them.
        **about
            `description` (Markdown), `tags` (labels of at most 32 characters), `config`, `hyperparameters`
            (by default those of the forest), `records` (URIs of the data), `dictionary` (the path of a
            columns.yaml, or what is in one) and `alias`, none by default. With
            `unseen="missing"`, categories that no row has may be treated as missing, whatever the pipeline
            does with them.

        Returns
        -------
        Version

        Raises
        ------
        DataError
            If the pipeline cannot be taken over exactly, or the rows do not fit it.
        InputError
            If something in `about` is not as it should be.
        """
        details, document = _details(about), _document(about)
        offer = _Offer.of(self.name, pipeline, (X, y), (X_test, y_test), about.get("unseen") == "missing")
        if document is not None:
            offer = replace(offer, data=described(offer.data, document))
        with warnings_shown_once(Console(stderr=True, emoji=False)):
            number = _logged(offer, details, about, self._client)
        return Version(self.name, number, self._client)


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    model: str
    number: str
    _client: MlflowClient

    @property
    def uri(self) -> str:
        """URI of this version and no other."""
        return f"models:/{self.model}/{self.number}"

    def edit(self, **changes: Any) -> Edited:
        """Change what is said of it, until it is published: the fields of `registry.catalog.editing.Edit`."""
        return edit_version(self._client, self.uri, Edit(**changes))

    def publish(self, key: Path | None = None) -> Manifest:
        """Publish it, signed with a key, by default that of the environment; it does not change any more."""
        return publish(self.uri, key=key, client=self._client)

    def add_format(self, kind: str, path: Path | str | None = None) -> FormatRecord:
        """Keep it in another format, once that has proved to answer the same; or the "file" of a path.

        An ArtifactError says that it has no such format. `docs/formats.md` has a table of them.
        """
        return add_format(self._client, self.uri, kind, None if path is None else Path(path))

    def formats(self) -> list[FormatRecord]:
        """Its formats, and how each was verified."""
        return version_formats(self._client, self.uri)

    def download_format(self, name: str, folder: Path | str = ".") -> Path:
        """Download one of its formats into a folder; its file there, whose SHA-256 was verified."""
        return download_format(self._client, self.uri, name, Path(folder))

    def delete_format(self, name: str) -> None:
        """Remove one of its formats, until it is published."""
        delete_format(self._client, self.uri, name)

    def facts(self) -> dict[str, Any]:
        """All that is known of it, as `versions show --json` prints it."""
        return read_sheet(self._client, Named.of(self.uri)).to_dict()


@dataclass(frozen=True)
class _Offer:
    """A pipeline that was taken over, and verified; nothing of it is in MLflow yet."""

    data: TrainingData
    result: SearchResult
    params: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model_name: str,
        pipeline: Pipeline,
        train: tuple[Any, Any],
        test: tuple[Any, Any],
        unseen_as_missing: bool,
    ) -> _Offer:
        forest = forest_of(pipeline)
        X, X_test = given_frames(train[0], test[0])
        names = getattr(pipeline, "feature_names_in_", None)
        if names is not None and list(names) != list(X.columns):
            raise DataError(f"The pipeline was fitted on the columns {listed(list(names))}, X has others.")
        data = given_data(X, train[1], X_test, test[1], model_name=model_name, name=model_name)
        if tuple(pipeline.classes_.tolist()) != data.schema.classes:
            raise DataError(
                f"The pipeline's classes are {listed(pipeline.classes_.tolist())}, those of y "
                f"{listed([*map(str, data.schema.classes)])}. Give the rows that it was fitted on."
            )
        schema = with_known_levels(pipeline, data.schema)
        data = replace(data, schema=schema)
        own = adopted(pipeline, schema, unseen_as_missing=unseen_as_missing)
        check_same(pipeline, own, schema, (X, X_test), as_array=names is None)
        variant = _VARIANTS[type(forest).__name__]
        params = _params(forest)
        return cls(data, SearchResult.given(variant, own, params, len(data.y_train)), params)


def _params(forest: Any) -> dict[str, Any]:
    """Parameters of a forest that are not its class's defaults, and how many trees it has."""
    defaults = type(forest)().get_params()
    given = {name: value for name, value in forest.get_params().items() if value != defaults[name]}
    plain = {name: value for name, value in given.items() if isinstance(value, bool | int | float | str)}
    return {"n_estimators": len(forest.estimators_)} | plain


def _details(about: About) -> Details:
    """What the user says of the version, checked before anything is made."""
    unknown = sorted({*about} - {*About.__annotations__})
    if unknown:
        raise InputError(
            f"new_version takes no {listed(unknown)}. It takes {listed([*About.__annotations__])}."
        )
    if about.get("unseen") not in (None, "missing"):
        raise InputError(f"unseen={about['unseen']!r} given, 'missing' or nothing expected.")
    alias = about.get("alias")
    if alias is not None:
        try:
            _validate_model_alias_name(alias)  # type: ignore[no-untyped-call]  # MLflow's
            _validate_model_alias_name_reserved(alias)  # type: ignore[no-untyped-call]
        except (MlflowException, TypeError) as error:
            raise InputError(f"alias={alias!r} given: {error}") from error
    given = about.get("hyperparameters")
    return Details(
        description=checked_description(about.get("description", "")),
        labels=checked_labels(about.get("tags", ())),
        config=checked_object("config", about.get("config", {})),
        hyperparameters=None if given is None else checked_object("hyperparameters", given),
        records=checked_records(about.get("records", ())),
    )


def _document(about: About) -> Document | None:
    """The data dictionary, if the user gives one."""
    given = about.get("dictionary")
    if given is None or isinstance(given, Mapping):
        return None if given is None else Document.of(given)
    try:
        return read_document(Path(given).expanduser().read_bytes(), Path(given).name)
    except (OSError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "a path or a mapping expected"
        raise InputError(f"Cannot read the dictionary {given!s:.200}: {reason}.") from error


def _logged(offer: _Offer, details: Details, about: About, client: MlflowClient) -> str:
    """Log model, explainer and card in a run of their own, and register the version; its number."""
    data, result = offer.data, offer.result
    cautions = (*data_cautions(data), *split_cautions(data))
    background = StoredBackground.of(data)
    choice = CalibrationChoice(None, {}, {}, np.zeros((0, 0)), "the pipeline's own are kept")
    decision = FoundDecision(PLAIN, choice)
    verdict = judge(result, data, 0, background, cautions, decision)
    inputs = record.dataset_inputs(data)
    nested = mlflow.active_run() is not None
    with (
        mlflow.start_run(run_name=result.variant, nested=nested, tags=record.environment_tags()) as run,
        tempfile.TemporaryDirectory(prefix="proto_model_") as folder,
    ):
        mlflow.log_params({"variant": result.variant, **offer.params})
        record.log_inputs(inputs)
        record.log_split(data)
        bundle = Path(folder) / "bundle"
        model = log_forest_model(result.pipeline, data, bundle=bundle, background=background)
        explainer = log_explainer(result.pipeline, data, bundle=bundle, background=background)
        record.log_verdict(result, verdict, model.model_id, inputs["testing"])
        record.log_example_explanations(Bundle.load(bundle), data)
        log_cautions(verdict.cautions)
        mlflow.set_tags({"variant": result.variant, "mlflow.note.content": record.note(verdict.card)})
    talk = Console(stderr=True, emoji=False)
    if data.schema.dictionary:
        talk.print(coverage_text(data.schema), highlight=False, soft_wrap=True, markup=False)
    show_cautions(verdict.cautions, talk)
    tags = _tags(offer, verdict, run.info.run_id)
    own = {name: value for name, value in details.to_tags().items() if value is not None}
    version = register_version(
        model.model_uri,
        data.schema.model_name,
        run_id=run.info.run_id,
        description=details.description or _description(offer, verdict),
        tags=tags | own,
        client=client,
    )
    register_version(
        explainer.model_uri,
        explainer_name(data.schema.model_name),
        run_id=run.info.run_id,
        description=f"Explains version {version.version} of {version.name} ({result.variant}).",
        tags=tags | {"explained_model": version.name, "explained_version": str(version.version)},
        client=client,
    )
    alias = about.get("alias")
    if alias is not None:  # last: a comparison needs the explainer, too
        set_alias(version.name, alias, version.version, client=client)
    return str(version.version)


def _tags(offer: _Offer, verdict: Verdict, run_id: str) -> dict[str, str]:
    data = offer.data
    return {
        "variant": offer.result.variant,
        "dataset": data.name,
        "signature": "rows",
        "background": "synthetic",
        "split_run_id": run_id,
        "split_by": data.split_by.rule,
        "split_digest": data.split_digest,
        "schema_digest": data.schema.digest,
        "test_balanced_accuracy": f"{verdict.metrics['balanced_accuracy']:.6f}",
        **caution_tags(verdict.cautions),
    }


def _description(offer: _Offer, verdict: Verdict) -> str:
    return (
        f"{offer.result.variant}, fitted elsewhere, predicts {offer.data.schema.target}: balanced accuracy "
        f"{verdict.metrics['balanced_accuracy']:.4f} on {len(offer.data.y_test):,} test rows."
    )
