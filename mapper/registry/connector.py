"""Where a model's schema comes from: a file, or a registry of MLflow.

MLflow itself is not needed for any of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mapper.application.files import application_files, read_file
from mapper.application.model import tabular_model
from mapper.errors import UnknownModelError
from mapper.mapping.interfaces import TangoModelRegistryConnector
from mapper.mapping.model import TabularExplainer, TabularModel
from mapper.mapping.schema import ModelSchema
from mapper.registry.addresses import check_registry_url, find_registry, model_uri
from mapper.registry.server import RegistryServer
from mapper.registry.sqlite_store import SqliteStore

FOLDER = "mapper"  # of a version: all that a mapper needs
SCHEMA_PATH = f"{FOLDER}/schema.json"
ID = re.compile(r"[a-zA-Z0-9][\w-]{0,255}", re.ASCII)  # of a run or a model, as MLflow has it
VERSION = re.compile(r"^model_version: *'?([0-9]{1,18})'?$", re.MULTILINE)
EXPLAINED = "explained_model"  # tag of a version that explains another one
FORMS = "models:/name@alias, models:/name/3, models:/m-<id> or runs:/<run id>/model"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """What the registry says of a model.

    `version` and `name`, that of the registered model, are None for a model named by its run or its id.
    `signature` is its tag: `rows` or `file`. A model that only `explains` takes rows. `files` are those of an
    application's own mapping, by their names.
    """

    schema: ModelSchema
    version: str | None = None
    signature: str | None = None
    name: str | None = None
    explains: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


class MlflowRegistryConnector(TangoModelRegistryConnector):
    """Client of an MLflow tracking server with a model registry, or reader of a store on this machine.

    The URL is that of a server, http or https, or the `sqlite:///` URI of a store. A client logs in by the
    variables of MLflow's own client: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN; MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_INSECURE_TLS. Raises
    SettingsError if the URL is invalid.
    """

    def __init__(
        self, model_registry_url: str, environ: Mapping[str, str] | None = None, timeout_s: float = 30.0
    ) -> None:
        environ = os.environ if environ is None else environ
        url = model_registry_url
        check_registry_url(url)
        self._store: RegistryServer | SqliteStore
        if url.startswith("sqlite"):
            self._store = SqliteStore(url, environ)
        else:
            self._store = RegistryServer(url, environ, timeout_s)

    def get_model(self, model_uri: str) -> TabularModel | TabularExplainer:
        """The model behind a URI, ready to map requests; raises as `fetch` does.

        A version that explains another one, by its tag `explained_model`, maps requests of explanations.
        """
        published = self.fetch(model_uri)
        model = tabular_model(published.schema, published.files, published.version)
        return TabularExplainer(model, {}) if published.explains else model

    def fetch(self, model_uri: str) -> PublishedModel:
        """Schema and version of a model, named as in `FORMS`.

        Raises RegistryError if the server does not answer, refuses the login or has no such model, and
        SchemaError if its `schema.json` is damaged.
        """
        try:
            return self._fetch(model_uri)
        finally:
            self._store.close()

    def _fetch(self, model_uri: str) -> PublishedModel:
        parts = urlsplit(model_uri)
        path = unquote(parts.path).strip("/")
        if parts.scheme == "runs":
            run_id, _, name = path.partition("/")
            if ID.fullmatch(run_id) and not {"", ".", ".."} & set(name.split("/")):
                model_id = self._store.model_of_run(run_id, name)
                if model_id is not None:
                    return self._logged(model_id)
                return PublishedModel(
                    ModelSchema.from_json(self._store.file_of_run(run_id, name, SCHEMA_PATH))
                )
        elif parts.scheme == "models":
            if path.startswith("m-") and ID.fullmatch(path):
                return self._logged(path)
            name, at, alias = path.partition("@")
            name, _, version = (name, "", "") if at else path.rpartition("/")
            is_name = "/" not in name and name not in ("", ".", "..")
            if is_name and (alias or version.isdecimal()):
                return self._fetch_version(name, alias if at else None, version)
        raise UnknownModelError(f"{model_uri!r} is not a model URI. Give {FORMS}.")

    def _fetch_version(self, name: str, alias: str | None, number: str) -> PublishedModel:
        version = self._store.version(name, alias, number)
        number, source = str(version.get("version")), str(version.get("source", ""))
        tags = _tags(version)
        explains = EXPLAINED in tags
        signature = "rows" if explains else tags.get("signature")
        if source.startswith("models:/m-"):
            logged = self._logged(source.removeprefix("models:/"))
            return replace(logged, version=number, signature=signature, name=name, explains=explains)
        content = self._store.file_of_version(name, number, SCHEMA_PATH)
        return PublishedModel(ModelSchema.from_json(content), number, signature, name, explains)

    def number_of(self, name: str, alias: str) -> str:
        """Number of the version behind an alias; raises RegistryError as `fetch` does."""
        try:
            return str(self._store.version(name, alias, "").get("version"))
        finally:
            self._store.close()

    def explainer_of(self, name: str, number: str) -> str | None:
        """Number of the newest version of `<name>_explainer` that explains a version; None if none does.

        Raises RegistryError as `fetch` does.
        """
        try:
            versions = self._store.versions(f"{name}_explainer")
        finally:
            self._store.close()
        wanted = {EXPLAINED: name, "explained_version": number}.items()
        found = [int(version["version"]) for version in versions if wanted <= _tags(version).items()]
        return str(max(found)) if found else None

    def _logged(self, model_id: str) -> PublishedModel:
        """Schema and mapping of a logged model."""

        def read(path: str) -> bytes:
            return self._store.file_of_model(model_id, path)

        schema = ModelSchema.from_json(read(SCHEMA_PATH))
        names = self._store.names_of_model(model_id, FOLDER)
        files = application_files(names, lambda name: read(f"{FOLDER}/{name}"))
        return PublishedModel(schema, files=files)


class VersionFinder:
    """Asks a registry for the version behind an alias, and for what it is."""

    def __init__(self, uri: str, connector: MlflowRegistryConnector) -> None:
        path = unquote(urlsplit(uri).path).strip("/")
        self._name, _, self._alias = path.partition("@")
        self._connector = connector

    @classmethod
    def of(cls, source: str, registry_url: str, environ: Mapping[str, str]) -> VersionFinder | None:
        """Finder for a source that names an alias; None for one that always names the same version."""
        uri = model_uri(source)
        if uri is None or "@" not in uri or not uri.startswith("models:"):
            return None
        connector = MlflowRegistryConnector(find_registry(uri, registry_url, environ), environ)
        return cls(uri, connector)

    def version(self) -> str:
        """Number of the version; raises RegistryError as `fetch` does."""
        return self._connector.number_of(self._name, self._alias)

    def fetch(self, number: str) -> PublishedModel:
        """What a version is."""
        return self._connector.fetch(f"models:/{quote(self._name)}/{number}")


def _tags(version: Mapping[str, Any]) -> dict[str, str]:
    return {tag.get("key"): tag.get("value") for tag in version.get("tags", ())}


def version_of_folder(folder: Path) -> str | None:
    """Version of a model that MLflow downloaded, by its folder or `mapper` in it; None if it does not say."""
    for place in (folder, folder.parent):
        with suppress(OSError, UnicodeDecodeError):
            found = VERSION.search((place / "registered_model_meta").read_text(encoding="utf-8"))
            return found[1] if found else None
    return None


def find_model(source: str, registry_url: str, environ: Mapping[str, str]) -> PublishedModel:
    """Schema and version of a model, named by a path, `models:/...`, `runs:/...` or `name@alias`.

    Raises SettingsError if no registry is named but one is needed, SchemaError or RegistryError as `fetch`.
    """
    uri = model_uri(source)
    if uri is None:
        file = ModelSchema.find(source)
        folder = file.parent
        names = sorted(path.name for path in folder.iterdir()) if file.is_file() else []
        return PublishedModel(
            ModelSchema.read(file),
            version_of_folder(folder),
            files=application_files(names, lambda name: read_file(folder / name)),
        )
    return MlflowRegistryConnector(find_registry(uri, registry_url, environ), environ).fetch(uri)
