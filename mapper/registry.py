"""Where a model's schema comes from: a file, an MLflow server over its REST API, or MLflow's store itself.

MLflow itself is not needed for any of them.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import orjson

from mapper.application.files import application_files, read_file
from mapper.application.model import tabular_model
from mapper.errors import RegistryError, SettingsError
from mapper.mapping.answer import message_of
from mapper.mapping.interfaces import TangoModelRegistryConnector
from mapper.mapping.model import TabularExplainer, TabularModel
from mapper.mapping.schema import ModelSchema
from mapper.model_server.proxy import HttpClient, Reply, shown_url
from mapper.sqlite_store import DEFAULT_FILE, SqliteStore, sqlite_file

FOLDER = "mapper"  # of a version: all that a mapper needs
SCHEMA_PATH = f"{FOLDER}/schema.json"
API = "/api/2.0/mlflow"
ID = re.compile(r"[a-zA-Z0-9][\w-]{0,255}", re.ASCII)  # of a run or a model, as MLflow has it
EXPLAINED = "explained_model"  # tag of a version that explains another one
WAYS = (
    "Give the URL of an MLflow server or of its store, --registry-url http://host:port or "
    "--registry-url sqlite:///mlflow.db, or the path of a schema.json with --schema."
)
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
        self._store = SqliteStore(url, environ) if url.startswith("sqlite") else None
        address = "http://127.0.0.1" if self._store else url  # of a client that is not used
        self._client = HttpClient(address, _login(environ), timeout_s, _trust(address, environ))

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
            self._client.close()

    def _fetch(self, model_uri: str) -> PublishedModel:
        parts = urlsplit(model_uri)
        path = unquote(parts.path).strip("/")
        if parts.scheme == "runs":
            run_id, _, name = path.partition("/")
            if ID.fullmatch(run_id) and not {"", ".", ".."} & set(name.split("/")):
                model_id = self._model_of_run(run_id, name)
                if model_id is not None:
                    return self._logged(model_id)
                return PublishedModel(ModelSchema.from_json(self._file_of_run(run_id, name)))
        elif parts.scheme == "models":
            if path.startswith("m-") and ID.fullmatch(path):
                return self._logged(path)
            name, at, alias = path.partition("@")
            name, _, version = (name, "", "") if at else path.rpartition("/")
            is_name = "/" not in name and name not in ("", ".", "..")
            if is_name and (alias or version.isdecimal()):
                return self._fetch_version(name, alias if at else None, version)
        raise RegistryError(f"{model_uri!r} is not a model URI. Give {FORMS}.")

    def _fetch_version(self, name: str, alias: str | None, number: str) -> PublishedModel:
        if self._store is not None:
            version = self._store.version(name, alias, number)
        elif alias is not None:
            version = self._json("/registered-models/alias", "model_version", name=name, alias=alias)
        else:
            version = self._json("/model-versions/get", "model_version", name=name, version=number)
        number, source = str(version.get("version")), str(version.get("source", ""))
        tags = _tags(version)
        explains = EXPLAINED in tags
        signature = "rows" if explains else tags.get("signature")
        if source.startswith("models:/m-"):
            logged = self._logged(source.removeprefix("models:/"))
            return replace(logged, version=number, signature=signature, name=name, explains=explains)
        if self._store is not None:
            content = self._store.file_of_version(name, number, SCHEMA_PATH)
        else:
            query = urlencode({"name": name, "version": number, "path": SCHEMA_PATH})
            content = self._get(f"/model-versions/get-artifact?{query}", f"version {number} of {name}").body
        return PublishedModel(ModelSchema.from_json(content), number, signature, name, explains)

    def explainer_of(self, name: str, number: str) -> str | None:
        """Number of the newest version of `<name>_explainer` that explains a version; None if none does.

        Raises RegistryError as `fetch` does.
        """
        try:
            versions = self._versions(f"{name}_explainer")
        finally:
            self._client.close()
        wanted = {EXPLAINED: name, "explained_version": number}.items()
        found = [int(version["version"]) for version in versions if wanted <= _tags(version).items()]
        return str(max(found)) if found else None

    def _versions(self, name: str) -> list[dict[str, Any]]:
        """Versions of a registered model; none if it is not registered."""
        if self._store is not None:
            return self._store.versions(name)
        if {"'", '"'} <= set(name):
            return []  # MLflow's filters cannot say such a name
        mark = '"' if "'" in name else "'"
        query = urlencode({"filter": f"name={mark}{name}{mark}", "max_results": 1000})
        reply = self._get(f"{API}/model-versions/search?{query}", name)
        try:
            return list(orjson.loads(reply.body).get("model_versions", ()))
        except (AttributeError, TypeError, ValueError) as error:
            raise RegistryError(f"{self._client.url} is not an MLflow server: wrong answer.") from error

    def _logged(self, model_id: str) -> PublishedModel:
        """Schema and mapping of a logged model."""
        schema = ModelSchema.from_json(self._file_of_model(model_id, SCHEMA_PATH))
        names = self._names_of_model(model_id)
        files = application_files(names, lambda name: self._file_of_model(model_id, f"{FOLDER}/{name}"))
        return PublishedModel(schema, files=files)

    def _file_of_model(self, model_id: str, path: str) -> bytes:
        if self._store is not None:
            return self._store.file_of_model(model_id, path)
        url = f"/ajax-api/2.0/mlflow/logged-models/{quote(model_id, safe='')}/artifacts/files"
        return self._get(f"{url}?{urlencode({'artifact_file_path': path})}", f"model {model_id}").body

    def _names_of_model(self, model_id: str) -> list[str]:
        """Names of the files that a mapper needs of a logged model."""
        if self._store is not None:
            return self._store.names_of_model(model_id, FOLDER)
        path = f"/logged-models/{quote(model_id, safe='')}/artifacts/directories"
        query = urlencode({"artifact_directory_path": FOLDER})
        reply = self._get(f"{API}{path}?{query}", f"model {model_id}")
        try:
            files = orjson.loads(reply.body).get("files", ())
            return [str(item["path"]).rpartition("/")[2] for item in files if not item.get("is_dir")]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RegistryError(f"{self._client.url} is not an MLflow server: wrong answer.") from error

    def _model_of_run(self, run_id: str, name: str) -> str | None:
        """Id of the model that a run logged under a name, unless MLflow 2 did it."""
        if self._store is not None:
            return self._store.model_of_run(run_id, name)
        run = self._json("/runs/get", "run", run_id=run_id)
        for output in run.get("outputs", {}).get("model_outputs", ()):
            model_id = str(output.get("model_id"))
            logged = self._json(f"/logged-models/{quote(model_id, safe='')}", "model")
            if logged.get("info", {}).get("name") == name:
                return model_id
        return None

    def _file_of_run(self, run_id: str, name: str) -> bytes:
        """The schema of a model that MLflow 2 logged."""
        if self._store is not None:
            return self._store.file_of_run(run_id, name, SCHEMA_PATH)
        query = urlencode({"run_id": run_id, "path": f"{name}/{SCHEMA_PATH}"})
        return self._get(f"/get-artifact?{query}", f"model {name} of run {run_id}").body

    def _json(self, path: str, key: str, **query: str) -> dict[str, Any]:
        """Object under a key of an answer, which MLflow always gives."""
        what = ", ".join(f"{name} {value}" for name, value in query.items()) or path.rpartition("/")[2]
        reply = self._get(f"{API}{path}{'?' if query else ''}{urlencode(query)}", what)
        try:
            return dict(orjson.loads(reply.body)[key])
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryError(f"{self._client.url} is not an MLflow server: wrong answer.") from error

    def _get(self, path: str, what: str) -> Reply:
        url = self._client.url
        try:
            reply = self._client.request("GET", path, may_repeat=True)
        except OSError as error:
            raise RegistryError(
                f"The MLflow server at {url} does not answer: {error}. Is it running?"
            ) from error
        if reply.status in (401, 403):
            raise RegistryError(
                f"The MLflow server at {url} refused the login ({reply.status}). Set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
            )
        if reply.status != 200:
            raise RegistryError(
                f"{what}: the MLflow server at {url} answered {reply.status}{_reason(reply.body)}"
            )
        return reply


def _tags(version: Mapping[str, Any]) -> dict[str, str]:
    return {tag.get("key"): tag.get("value") for tag in version.get("tags", ())}


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
            ModelSchema.read(file), files=application_files(names, lambda name: read_file(folder / name))
        )
    return MlflowRegistryConnector(find_registry(uri, registry_url, environ), environ).fetch(uri)


def model_uri(source: str) -> str | None:
    """The URI of a model in a registry that a source names; None if it names a file or a folder.

    Examples
    --------
    >>> model_uri("proto_model@champion"), model_uri("build/schema.json")
    ('models:/proto_model@champion', None)
    """
    if source.startswith(("models:", "runs:")):
        return source
    return f"models:/{source}" if "@" in source and not Path(source).exists() else None


def find_registry(uri: str, registry_url: str, environ: Mapping[str, str]) -> str:
    """URL of the registry that has a model: as given, by MLflow's variables, or the store of this folder.

    Raises SettingsError if there is none.
    """
    url = registry_url or environ.get("MLFLOW_REGISTRY_URI") or environ.get("MLFLOW_TRACKING_URI", "")
    if not url and Path(DEFAULT_FILE).is_file():
        return f"sqlite:///{DEFAULT_FILE}"
    if not url:
        raise SettingsError(
            f"{uri} is in a registry, but MLFLOW_TRACKING_URI is not set and there is no {DEFAULT_FILE} in "
            f"{Path.cwd()}. {WAYS}"
        )
    try:
        check_registry_url(url)
    except SettingsError as error:
        raise SettingsError(f"{uri} is in a registry. {error}") from error
    return url


def check_registry_url(url: str) -> None:
    """Raise SettingsError unless it is the URL of a server, or names an SQLite file."""
    scheme = url.partition(":")[0] if ":" in url else ""
    if scheme in ("http", "https"):
        shown_url(url)
    elif scheme.startswith("sqlite"):
        sqlite_file(url)
    else:
        given = f"{scheme}: given" if scheme else "a path given"
        raise SettingsError(f"The mapper reads registries over HTTP, or in an SQLite file; {given}. {WAYS}")


def shown_registry(url: str) -> str:
    """URL of a registry as the log shows it, without user name, password and query."""
    return url.partition("?")[0] if url.startswith("sqlite") else shown_url(url)


def _reason(body: bytes) -> str:
    """What an MLflow error says."""
    try:
        return f": {message_of(orjson.loads(body)) or 'no reason given'}"
    except orjson.JSONDecodeError:
        return "."


def _login(environ: Mapping[str, str]) -> dict[str, str]:
    user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _trust(url: str, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    if not url.startswith("https:"):
        return None
    if environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        return ssl._create_unverified_context()
    return ssl.create_default_context(cafile=environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None)
