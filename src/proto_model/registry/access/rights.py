"""Rights on a registered model and on what belongs to it: who has which, and how that changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from proto_model.errors import RegistryError
from proto_model.registry.access.server import AccessServer, Grant, User

if TYPE_CHECKING:
    from mlflow import MlflowClient

ADMIN, GRANTED, ROLE, DEFAULT = "administrator", "granted", "role", "default"

Kind = Literal["registered_model", "experiment"]

_MODEL: Kind = "registered_model"
_EXPERIMENT: Kind = "experiment"
_WORDS = {_MODEL: "registered model", _EXPERIMENT: "experiment"}


@dataclass(frozen=True)
class Resource:
    """A registered model, or an experiment, which rights go by the id of."""

    kind: Kind
    id: str
    name: str

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{_WORDS[self.kind]} {self.name!r}"


@dataclass(frozen=True)
class Change:
    """What became of a right: given before, if that is known, given now, and what the user may do now.

    The last is more than was given if the server's default or a role gives more, and less if a role denies;
    it is empty where only administrators see it.
    """

    resource: Resource
    before: str
    after: str
    effective: str = ""

    @property
    def sentence(self) -> str:
        """The change in words."""
        if self.before == self.after:
            done = (
                f"{self.resource}: {self.after} as before." if self.after else f"{self.resource}: none given."
            )
        elif not self.after:
            done = f"{self.resource}: {self.before} taken back."
        else:
            instead = f" in place of {self.before}" if self.before else ""
            done = f"{self.resource}: {self.after} given{instead}."
        if not self.effective or self.effective == self.after:
            return done
        if not self.after:
            return f"{done} What remains is {self.effective}."
        return f"{done} But the server's default or a role makes it {self.effective}."

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return {
            **asdict(self.resource),
            "before": self.before or None,
            "after": self.after or None,
            "effective": self.effective or None,
        }


@dataclass(frozen=True)
class Holder:
    """A user, and what the user may do with each resource: the right, and where it comes from."""

    user: str
    is_admin: bool
    rights: tuple[tuple[Resource, str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "user": self.user,
            "admin": self.is_admin,
            "rights": [{**asdict(one), "right": right, "from": origin} for one, right, origin in self.rights],
        }


def resources_of(client: MlflowClient, model: str, *, experiments: bool) -> list[Resource]:
    """A registered model, its explainers', and if asked for the experiments of the runs of both.

    A RegistryError says that there is no such model.
    """
    from proto_model.registry.catalog.runs import runs_of
    from proto_model.registry.unknown import no_model
    from proto_model.registry.versions import explainer_name, found, versions_of, visible

    if found(client.get_registered_model, model) is None:
        raise no_model(client, model)
    names = [model]
    if visible(client.get_registered_model, explainer_name(model)) is not None:
        names.append(explainer_name(model))
    resources = [Resource(_MODEL, name, name) for name in names]
    if experiments:
        run_ids = [version.run_id for name in names for version in versions_of(client, name)]
        ids = {run.info.experiment_id for run in runs_of(client, run_ids).values()}
        resources += [Resource(_EXPERIMENT, one, client.get_experiment(one).name) for one in sorted(ids)]
    return resources


def grant(server: AccessServer, user: str, resources: Sequence[Resource], right: str) -> list[Change]:
    """Give a user a right on each, in place of one that was given before; what changed."""
    before = _given(server, user)
    changes = []
    for one in resources:
        old = before.get((one.kind, one.id), "")
        # MLflow gives a right only to who was given none.
        if old != right and not server.grant(user, one.kind, one.id, right):
            server.revoke(user, one.kind, one.id)
            if not server.grant(user, one.kind, one.id, right):
                raise RegistryError(f"Somebody else gives {user!r} rights on the {one} right now. Try again.")
        changes.append(Change(one, old, right, _effective(server, user, one)))
    return changes


def revoke(server: AccessServer, user: str, resources: Sequence[Resource]) -> list[Change]:
    """Take the rights back that a user was given on each; what changed."""
    before = _given(server, user)
    changes = []
    for one in resources:
        taken = server.revoke(user, one.kind, one.id)
        old = before.get((one.kind, one.id), "its right") if taken else ""
        changes.append(Change(one, old, "", _effective(server, user, one)))
    return changes


def holders(server: AccessServer, resources: Sequence[Resource]) -> list[Holder]:
    """Who may do what; for those who are no administrators, what they may do themselves."""
    users = server.users() if server.user.is_admin else [server.user]
    return [_holder(server, user, resources) for user in users]


def _holder(server: AccessServer, user: User, resources: Sequence[Resource]) -> Holder:
    if user.is_admin:
        return Holder(user.name, True, tuple((one, "MANAGE", ADMIN) for one in resources))
    grants = server.granted(user.name)
    rights = []
    for one in resources:
        right = server.effective(user.name, one.kind, one.id)
        rights.append((one, right, _origin(list(_about(grants, one)), right)))
    return Holder(user.name, False, tuple(rights))


def _about(grants: Sequence[Grant], resource: Resource) -> Iterator[Grant]:
    for one in grants:
        is_all = one.kind == "workspace" and one.right == "MANAGE"
        if is_all or (one.kind == resource.kind and one.pattern in ("*", resource.id)):
            yield one


def _origin(grants: Sequence[Grant], right: str) -> str:
    """What gives a right: the user's own grant, a role, or else the server's default."""
    deciding = sorted((one for one in grants if one.right == right), key=lambda one: not one.is_own)
    if not deciding:
        return DEFAULT
    return GRANTED if deciding[0].is_own else f"{ROLE} {deciding[0].role}"


def _given(server: AccessServer, user: str) -> dict[tuple[str, str], str]:
    """What a user was given, by kind and id; nothing is known where only administrators see it."""
    if not server.user.is_admin and server.user.name != user:
        return {}
    return {(one.kind, one.pattern): one.right for one in server.granted(user) if one.is_own}


def _effective(server: AccessServer, user: str, resource: Resource) -> str:
    if not server.user.is_admin and server.user.name != user:
        return ""
    return server.effective(user, resource.kind, resource.id)
