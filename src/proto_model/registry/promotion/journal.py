"""What a move of aliases is about to write, noted on the registered model before the first of it is written.

MLflow makes one change at a time. So a move is a list of changes, each of which may be made twice, and the
list is kept in a tag until the last one is made. Whoever finds the tag, and no living process that has the
lock, finishes the list; or undoes it, when the version that was to be champion is no longer there.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from proto_model.errors import RegistryError
from proto_model.registry.descriptions import own_description
from proto_model.registry.promotion.lock import Lock
from proto_model.registry.refusals import NotAllowedError
from proto_model.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS_CHAMPION,
    Aliases,
    changed_sentence,
    drop_version_tag,
    found,
    read_aliases,
    shown_aliases,
    version_of_alias,
    versions_of,
)

JOURNAL_TAG = "promotion_journal"


class UnfinishedMoveError(RegistryError):
    """The registry failed in the middle of a move, which the next command finishes."""


Kind = Literal["promotion", "rollback", "verdict"]


class _MovedError(RegistryError):
    """Somebody without the lock moved the champion right after us."""


@dataclass(frozen=True)
class Write:
    """A change in MLflow that leads to the same when it is made twice; its arguments are texts."""

    kind: str
    arguments: tuple[str, ...]

    def make(self, client: MlflowClient) -> None:
        """Make the change; nothing happens if the version it is for was deleted."""
        _, change = _CHANGES[self.kind]
        found(functools.partial(change, client), *self.arguments)


def point_alias(model: str, alias: str, version: str) -> Write:
    """Point an alias at a version."""
    return Write("alias", (model, alias, version))


def drop_alias(model: str, alias: str, version: str) -> Write:
    """Delete an alias if it still points at the version."""
    return Write("no_alias", (model, alias, version))


def tag_model(model: str, key: str, value: str | None) -> Write:
    """Set a tag of a registered model; delete it for None."""
    return Write("no_model_tag", (model, key)) if value is None else Write("model_tag", (model, key, value))


def tag_version(model: str, version: str, key: str, value: str | None) -> Write:
    """Set a tag of a version; delete it for None."""
    if value is None:
        return Write("no_version_tag", (model, version, key))
    return Write("version_tag", (model, version, key, value))


def describe(model: str, version: str, paragraph: str) -> Write:
    """Put a paragraph under a version's description, in place of the last comparison's or rollback's."""
    return Write("paragraph", (model, version, paragraph))


def end_run(run_id: str) -> Write:
    """Mark an MLflow run as finished."""
    return Write("end_run", (run_id,))


def _drop_alias(client: MlflowClient, model: str, alias: str, version: str) -> None:
    """Delete an alias; who may edit, but not delete, moves it to the champion, where it says nothing."""
    now = {name: str(number) for name, number in client.get_registered_model(model).aliases.items()}
    if now.get(alias) != version:
        return
    try:
        client.delete_registered_model_alias(model, alias)
    except NotAllowedError:
        champion = now.get(CHAMPION)
        if alias == CHAMPION or champion is None:
            raise
        if champion != version:
            client.set_registered_model_alias(model, alias, champion)


def _drop_version_tag(client: MlflowClient, model: str, version: str, key: str) -> None:
    if client.get_model_version(model, version).tags.get(key):
        drop_version_tag(client, model, version, key)


def _drop_model_tag(client: MlflowClient, model: str, key: str) -> None:
    if key in client.get_registered_model(model).tags:
        client.delete_registered_model_tag(model, key)


def _describe(client: MlflowClient, model: str, version: str, paragraph: str) -> None:
    now = client.get_model_version(model, version).description or ""
    client.update_model_version(model, version, f"{own_description(now)}\n\n{paragraph}".strip())


# How many arguments a change takes, and what makes it.
_CHANGES: dict[str, tuple[int, Callable[..., None]]] = {
    "alias": (3, lambda client, *given: client.set_registered_model_alias(*given)),
    "no_alias": (3, _drop_alias),
    "model_tag": (3, lambda client, *given: client.set_registered_model_tag(*given)),
    "no_model_tag": (2, _drop_model_tag),
    "version_tag": (4, lambda client, *given: client.set_model_version_tag(*given)),
    "no_version_tag": (3, _drop_version_tag),
    "paragraph": (3, _describe),
    "end_run": (1, lambda client, run_id: client.set_terminated(run_id, "FINISHED")),
}


@dataclass(frozen=True)
class Move:
    """Aliases before and after, all that is to be written, and what undoes it; `doing` says it in words."""

    kind: Kind
    model: str
    doing: str
    before: Aliases
    after: Aliases
    writes: tuple[Write, ...]
    undo: tuple[Write, ...] = ()

    def to_tag(self) -> str:
        """Value of the tag."""
        content = asdict(self)
        for name in ("writes", "undo"):
            content[name] = [[write.kind, *write.arguments] for write in getattr(self, name)]
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_tag(cls, text: str) -> Move:
        """Move that a tag holds; a RegistryError says that it holds none."""
        try:
            content: dict[str, Any] = json.loads(text)
            for name in ("writes", "undo"):
                content[name] = tuple(_known_write(*write) for write in content[name])
            for name in ("before", "after"):
                content[name] = Aliases(**content[name])
            move = cls(**content)
            versions = [*vars(move.before).values(), *vars(move.after).values()]
            _check_texts([move.model, move.doing, *(version for version in versions if version is not None)])
            if move.kind not in get_args(Kind):
                raise ValueError(f"{move.kind!r} is no move")
            return move
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RegistryError(
                f"The tag {JOURNAL_TAG} of the registered model is damaged. Check its aliases, "
                "then delete the tag."
            ) from error


def _known_write(kind: str, *arguments: str) -> Write:
    """Write that a tag holds; KeyError, TypeError or ValueError if there is no such change."""
    n_arguments, _ = _CHANGES[kind]
    _check_texts(arguments)
    if len(arguments) != n_arguments:
        raise ValueError(f"{kind} takes {n_arguments} arguments")
    return Write(kind, arguments)


def _check_texts(values: Sequence[Any]) -> None:
    if not all(isinstance(value, str) for value in values):
        raise ValueError("a text was expected")


@dataclass(frozen=True)
class Recovery:
    """What was found of a command that had been killed, and what became of it.

    `move` is None when it had left a lock and nothing else. A dry run leaves it `pending`.
    """

    model: str
    move: Kind | None
    outcome: Literal["finished", "undone", "dropped", "pending"]
    sentence: str
    aliases: Aliases

    def completes(self, command: Literal["promotion", "rollback"]) -> bool:
        """Whether a command of this kind has nothing left to do: what it was called for is done now."""
        if self.outcome not in ("finished", "pending") or self.move != command:
            return False
        no_challenger = self.aliases.challenger in (None, self.aliases.champion)
        return command == "rollback" or no_challenger or self.outcome == "pending"

    def to_dict(self) -> dict[str, Any]:
        """JSON object of what was found."""
        return asdict(self)


def carry_out(lock: Lock, client: MlflowClient, move: Move, advice: str) -> Aliases:
    """Make all changes of a move, noted first; the aliases afterwards.

    A RegistryError says that somebody without the lock moved the champion right after; that stands.
    """
    lock.check()
    client.set_registered_model_tag(move.model, JOURNAL_TAG, move.to_tag())
    try:
        return _make(lock, client, move, advice)
    except (MlflowException, RegistryError, OSError) as error:
        if isinstance(error, _MovedError):
            raise
        raise UnfinishedMoveError(
            f"The registry failed while it was to {move.doing}: {error} "
            "What was begun is noted there; the next comparison or rollback finishes it."
        ) from error


def _make(lock: Lock, client: MlflowClient, move: Move, advice: str) -> Aliases:
    for write in move.writes:
        lock.check()
        write.make(client)
        if write.arguments[:2] == (move.model, CHAMPION):
            now = read_aliases(move.model, client=client)
            if now.champion != move.after.champion:
                _drop_model_tag(client, move.model, JOURNAL_TAG)
                meant = replace(move.after, challenger=now.challenger)
                raise _MovedError(changed_sentence(move.model, meant, now, advice))
    lock.note_done(move.kind)
    _drop_model_tag(client, move.model, JOURNAL_TAG)
    return read_aliases(move.model, client=client)


def pending_move(client: MlflowClient, model: str) -> Move | None:
    """Move that was begun and is not finished, perhaps because it is being made right now."""
    registered = found(client.get_registered_model, model)
    text = None if registered is None else registered.tags.get(JOURNAL_TAG)
    return None if text is None else Move.from_tag(text)


def recover(lock: Lock, client: MlflowClient, model: str) -> Recovery | None:
    """Finish or undo what the last owner of the lock had begun; None if there is nothing."""
    move = pending_move(client, model)
    if move is None:
        return _after_a_lock(lock, client, model)
    now = read_aliases(model, client=client)
    target = move.after.champion
    gone = target is not None and found(client.get_model_version, model, target) is None
    before = f"A command that was to {move.doing} was interrupted."
    if gone:
        for write in move.undo:
            lock.check()
            write.make(client)
        _drop_model_tag(client, model, JOURNAL_TAG)
        after = read_aliases(model, client=client)
        why = f"version {target} was deleted"
        return _recovery(move, "undone", f"{before} It was undone, because {why}", after)
    if now.champion not in (move.before.champion, move.after.champion):
        _drop_model_tag(client, model, JOURNAL_TAG)
        return _recovery(
            move, "dropped", f"{before} Since then somebody moved the champion; that stands", now
        )
    after = _make(lock, client, move, "The later move stands.")
    return _recovery(move, "finished", f"{before} It is finished now", after)


def _recovery(
    move: Move, outcome: Literal["finished", "undone", "dropped"], sentence: str, aliases: Aliases
) -> Recovery:
    return Recovery(move.model, move.kind, outcome, f"{sentence}: {shown_aliases(aliases)}.", aliases)


def _after_a_lock(lock: Lock, client: MlflowClient, model: str) -> Recovery | None:
    """What a lock alone tells: its owner was killed before it moved anything, or after all was moved."""
    if not lock.broken:
        return None
    run_ids = [owner.run_id for owner in lock.broken if owner.run_id is not None]
    for run_id in run_ids:
        run = found(client.get_run, run_id)
        if run is not None and run.info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")
    owners = "; ".join(map(str, lock.broken))
    aliases = read_aliases(model, client=client)
    done = next((owner.done for owner in lock.broken if owner.done in get_args(Kind)), None)
    if done is None:
        sentence = f"A command was killed and left its lock ({owners}). It had moved no alias."
        return Recovery(model, None, "dropped", sentence, aliases)
    sentence = f"A command was killed after all was done ({owners}): {shown_aliases(aliases)}."
    return Recovery(model, cast(Kind, done), "finished", sentence, aliases)


def undone(model: str, before: Aliases, after: Aliases) -> tuple[Write, ...]:
    """What puts the three aliases back where they were."""
    writes = []
    for alias in (PREVIOUS_CHAMPION, CHAMPION, CHALLENGER):
        old, new = getattr(before, alias), getattr(after, alias)
        if old is not None:
            writes.append(point_alias(model, alias, old))
        elif new is not None:
            writes.append(drop_alias(model, alias, new))
    return tuple(writes)


def explainer_versions(client: MlflowClient, explainer: str, version: str) -> list[str]:
    """Versions of a registered explainer that explain version `version` of its model, the newest first."""
    those = versions_of(client, explainer, f"tag.explained_version = '{version}'")
    return [str(item.version) for item in those]


def explainer_writes(client: MlflowClient, explainer: str, version: str) -> Sequence[Write]:
    """Give the explainer's alias `champion` to the version that explains version `version` of the model.

    Nothing if no explainer has the tag `explained_version` for it.
    """
    those = explainer_versions(client, explainer, version)
    if not those:
        return []
    newest = those[0]
    challenger = version_of_alias(explainer, CHALLENGER, client=client)
    writes = [point_alias(explainer, CHAMPION, newest)]
    if challenger is not None and str(challenger.version) == newest:
        writes.append(drop_alias(explainer, CHALLENGER, newest))
    return writes
