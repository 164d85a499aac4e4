"""The part of MLflow's REST API that basic-auth adds, asked as MLflow's own client asks the rest.

MLflow's `AuthServiceClient` has no call that lists users or rights, and importing it takes the server with
its database and Flask-WTF along.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from proto_model.errors import CallerError, RegistryError, UnknownNameError
from proto_model.registry.refusals import LOGIN, NotAllowedError
from proto_model.registry.tracking import is_url, without_credentials

CURRENT = "/api/2.0/mlflow/users/current"
USERS = "/api/2.0/mlflow/users/list"
GRANT = "/api/3.0/mlflow/users/permissions/grant"
REVOKE = "/api/3.0/mlflow/users/permissions/revoke"
EFFECTIVE = "/api/3.0/mlflow/users/permissions/get"
GRANTED = "/api/3.0/mlflow/users/permissions/list"

_TIMEOUT_S = 30
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_MISSING = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class User:
    """A user of the server."""

    name: str
    is_admin: bool


@dataclass(frozen=True)
class Grant:
    """A right that a user was given, or one of the user's roles; `pattern` is a name, an id, or *."""

    role: str
    kind: str
    pattern: str
    right: str

    @property
    def is_own(self) -> bool:
        """Whether it was given to the user, and not to a role that an administrator made."""
        return self.role.startswith("__user_")


class NoUsersError(RegistryError, CallerError):
    """The store that was named has no users, so it keeps no rights."""


class AccessServer:
    """A tracking server with basic-auth, and who asks it: the user of MLflow's variables or credentials file.

    Raises
    ------
    RegistryError
        If it is no server, does not answer, or has no basic-auth, or name and password are wrong.
    """

    def __init__(self, tracking_uri: str) -> None:
        if not is_url(tracking_uri):
            raise NoUsersError(
                "Rights are kept by an MLflow server, and this store is a database without users. Set "
                "MLFLOW_TRACKING_URI to the server's address."
            )
        self.uri = tracking_uri.rstrip("/")
        status, answer = self._ask("GET", CURRENT, {})
        if status == HTTPStatus.NOT_FOUND:
            raise NoUsersError(
                f"{self.shown} has no users and no rights. Start it with basic-auth: "
                "mlflow server --app-name basic-auth, or proto-model-locks-auth."
            )
        self._check(status, answer, "ask who it is")
        user = answer["user"]
        self.user = User(str(user["username"]), bool(user["is_admin"]))

    @property
    def shown(self) -> str:
        """The server in a sentence."""
        return without_credentials(f"MLflow at {self.uri}")

    def users(self) -> list[User]:
        """All users, by name."""
        answer = self._answer("GET", USERS, {}, "list the users")
        users = [User(str(one["username"]), bool(one["is_admin"])) for one in answer["users"]]
        return sorted(users, key=lambda user: user.name)

    def effective(self, user: str, kind: str, name: str) -> str:
        """Right that a user has on something, whatever it comes from; only administrators ask of others."""
        asked = {"username": user, "resource_type": kind, "resource_id": name}
        return str(self._answer("GET", EFFECTIVE, asked, f"see the rights of {user!r}")["permission"])

    def granted(self, user: str) -> list[Grant]:
        """All that a user, and each of the user's roles, was given; only administrators ask of others."""
        answer = self._answer("GET", GRANTED, {"username": user}, f"see the rights of {user!r}")
        names = ("role_name", "resource_type", "resource_pattern", "permission")
        return [Grant(*(str(one[name]) for name in names)) for one in answer["permissions"]]

    def grant(self, user: str, kind: str, name: str, right: str) -> bool:
        """Give a user a right; False if the user was given one before, which stays."""
        given = {"username": user, "resource_type": kind, "resource_id": name}
        status, answer = self._ask("POST", GRANT, given | {"permission": right})
        if answer.get("error_code") == _EXISTS:
            return False
        self._check(status, answer, f"give rights on {name!r}", user)
        return True

    def revoke(self, user: str, kind: str, name: str) -> bool:
        """Take the right that a user was given; False if there was none."""
        given = {"username": user, "resource_type": kind, "resource_id": name}
        status, answer = self._ask("POST", REVOKE, given)
        if answer.get("error_code") == _MISSING and "User with username" not in str(answer.get("message")):
            return False
        self._check(status, answer, f"take rights on {name!r}", user)
        return True

    def _answer(self, method: str, path: str, given: dict[str, str], doing: str) -> dict[str, Any]:
        status, answer = self._ask(method, path, given)
        self._check(status, answer, doing, given.get("username", ""))
        return answer

    def _ask(self, method: str, path: str, given: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer; the error of one that is none."""
        from mlflow.exceptions import MlflowException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        body = {"params": given} if method == "GET" else {"json": given}
        try:
            login = get_default_host_creds(self.uri)  # type: ignore[no-untyped-call]  # MLflow's
            answer: Any = http_request(  # type: ignore[no-untyped-call]  # MLflow's
                login, path, method, timeout=_TIMEOUT_S, max_retries=0, **body
            )
        except MlflowException as error:
            raise RegistryError(
                f"{self.shown} does not answer. Check MLFLOW_TRACKING_URI and whether the server is running."
            ) from error
        try:
            content = answer.json() if answer.content else {}
        except ValueError:
            content = {}
        return answer.status_code, content if isinstance(content, dict) else {}

    def _check(self, status: int, answer: dict[str, Any], doing: str, user: str = "") -> None:
        if status == HTTPStatus.OK:
            return
        if status == HTTPStatus.UNAUTHORIZED:
            raise NotAllowedError(f"{self.shown} does not know this name and password. {LOGIN}")
        if status == HTTPStatus.FORBIDDEN:
            raise NotAllowedError(
                f"{self.user.name!r} may not {doing}. Ask an administrator of {self.shown}, or somebody with "
                "MANAGE."
            )
        if answer.get("error_code") == _MISSING and user:
            raise UnknownNameError(
                f"There is no user {user!r} at {self.shown}. Administrators make users on its page /signup."
            )
        reason = " ".join(str(answer.get("message") or "It gave no reason.").split())
        raise RegistryError(
            without_credentials(f"{self.shown} did not {doing}: status {int(status)}. {reason}")
        )
