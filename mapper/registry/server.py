"""MLflow's registry over the REST API of its server; MLflow itself is not needed for it."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from mapper.errors import RegistryError, UnknownModelError
from mapper.model_server.answer import message_of
from mapper.model_server.proxy import HttpClient, Reply

API = "/api/2.0/mlflow"


class RegistryServer:
    """Asks an MLflow server; `SqliteStore` has the same methods.

    Everything raises RegistryError if the server does not answer, refuses the login, or lacks what is asked
    for.
    """

    def __init__(self, url: str, environ: Mapping[str, str], timeout_s: float) -> None:
        self._client = HttpClient(url, _login(environ), timeout_s, _trust(url, environ))

    def version(self, name: str, alias: str | None, number: str) -> dict[str, Any]:
        """A version of a registered model, by its alias, or its number if the alias is None."""
        try:
            if alias is not None:
                return self._json("/registered-models/alias", "model_version", name=name, alias=alias)
            return self._json("/model-versions/get", "model_version", name=name, version=number)
        except UnknownModelError as error:
            raise UnknownModelError(f"{error} {self._there(name)}") from error

    def _there(self, name: str) -> str:
        """What there is instead of a version that is not there, as far as the server tells."""
        try:
            model = self._json("/registered-models/get", "registered_model", name=name)
            aliases = sorted(str(item["alias"]) for item in model.get("aliases", ()))
            return (
                f"Aliases of {name}: {', '.join(aliases) or 'none'}. Name one of its versions with --schema."
            )
        except (KeyError, TypeError, UnknownModelError):
            pass
        try:
            models = orjson.loads(self._get(f"{API}/registered-models/search?max_results=100", "models").body)
            names = sorted(str(item["name"]) for item in models.get("registered_models", ()))
        except (AttributeError, KeyError, TypeError, ValueError, RegistryError):
            return ""
        advice = "Name one of these with --schema." if names else "Train one: python -m proto_model train"
        return f"Registered models: {', '.join(names) or 'none'}. {advice}"

    def versions(self, name: str) -> list[dict[str, Any]]:
        """Versions of a registered model; none if it is not registered."""
        if {"'", '"'} <= set(name):
            return []  # MLflow's filters cannot say such a name
        mark = '"' if "'" in name else "'"
        query = urlencode({"filter": f"name={mark}{name}{mark}", "max_results": 1000})
        reply = self._get(f"{API}/model-versions/search?{query}", name)
        try:
            return list(orjson.loads(reply.body).get("model_versions", ()))
        except (AttributeError, TypeError, ValueError) as error:
            raise self._not_mlflow() from error

    def file_of_version(self, name: str, number: str, path: str) -> bytes:
        """A file of a version."""
        query = urlencode({"name": name, "version": number, "path": path})
        return self._get(f"/model-versions/get-artifact?{query}", f"version {number} of {name}").body

    def file_of_model(self, model_id: str, path: str) -> bytes:
        """A file of a logged model."""
        url = f"/ajax-api/2.0/mlflow/logged-models/{quote(model_id, safe='')}/artifacts/files"
        return self._get(f"{url}?{urlencode({'artifact_file_path': path})}", f"model {model_id}").body

    def names_of_model(self, model_id: str, folder: str) -> list[str]:
        """Names of the files in a folder of a logged model; none if there is no such folder."""
        path = f"/logged-models/{quote(model_id, safe='')}/artifacts/directories"
        query = urlencode({"artifact_directory_path": folder})
        reply = self._get(f"{API}{path}?{query}", f"model {model_id}")
        try:
            files = orjson.loads(reply.body).get("files", ())
            return [str(item["path"]).rpartition("/")[2] for item in files if not item.get("is_dir")]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._not_mlflow() from error

    def model_of_run(self, run_id: str, name: str) -> str | None:
        """Id of the model that a run logged under a name, unless MLflow 2 did it."""
        run = self._json("/runs/get", "run", run_id=run_id)
        for output in run.get("outputs", {}).get("model_outputs", ()):
            model_id = str(output.get("model_id"))
            logged = self._json(f"/logged-models/{quote(model_id, safe='')}", "model")
            if logged.get("info", {}).get("name") == name:
                return model_id
        return None

    def file_of_run(self, run_id: str, name: str, path: str) -> bytes:
        """A file of the model that a run logged under a name."""
        query = urlencode({"run_id": run_id, "path": f"{name}/{path}"})
        return self._get(f"/get-artifact?{query}", f"model {name} of run {run_id}").body

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _json(self, path: str, key: str, **query: str) -> dict[str, Any]:
        """Object under a key of an answer, which MLflow always gives."""
        what = ", ".join(f"{name} {value}" for name, value in query.items()) or path.rpartition("/")[2]
        reply = self._get(f"{API}{path}{'?' if query else ''}{urlencode(query)}", what)
        try:
            return dict(orjson.loads(reply.body)[key])
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_mlflow() from error

    def _get(self, path: str, what: str) -> Reply:
        url = self._client.url
        try:
            reply = self._client.request("GET", path, may_repeat=True)
        except OSError as error:
            raise RegistryError(
                f"The MLflow server at {url} does not answer: {error.strerror or error}. Is it running?"
            ) from error
        if reply.status in (401, 403):
            raise RegistryError(
                f"The MLflow server at {url} refused the login ({reply.status}). Set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
            )
        if reply.status != 200:
            kind = UnknownModelError if _is_unknown(reply) else RegistryError
            raise kind(f"{what}: the MLflow server at {url} answered {reply.status}{_reason(reply.body)}")
        return reply

    def _not_mlflow(self) -> RegistryError:
        return RegistryError(f"{self._client.url} is not an MLflow server: wrong answer.")


def _is_unknown(reply: Reply) -> bool:
    """Whether MLflow says that there is no such thing; its SQLite store says so of aliases in another way."""
    return reply.status == 404 or (reply.status == 400 and b"not found" in reply.body)


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
