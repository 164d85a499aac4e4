"""The champion's two moves, promotion and rollback: each checked, planned, noted in the journal and made.

A move needs the model's lock, so that it cannot meet another one. Whoever moves aliases by hand has no lock;
each move looks for that right before and right after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from mlflow import MlflowClient

from proto_model.errors import RegistryError
from proto_model.registry.patience import patient
from proto_model.registry.promotion.history import HISTORY_TAG, read_history
from proto_model.registry.promotion.journal import (
    Move,
    Recovery,
    Write,
    carry_out,
    drop_alias,
    explainer_writes,
    pending_move,
    point_alias,
    recover,
    tag_model,
    undone,
)
from proto_model.registry.promotion.lock import Lock, lock_name, lock_owner, locked
from proto_model.registry.refusals import NotAllowedError
from proto_model.registry.tracking import is_url
from proto_model.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS_CHAMPION,
    Aliases,
    changed_sentence,
    check_unchanged,
    explainer_name,
    read_aliases,
    read_aliases_and_tags,
    shown_aliases,
)


@dataclass(frozen=True)
class Turn:
    """The right to move a model's aliases, and what was found of an earlier command that was killed."""

    name: str
    client: MlflowClient
    lock: Lock
    recovery: Recovery | None

    def note_run(self, run_id: str) -> None:
        """Remember the run that is closed if this process is killed."""
        self.lock.note_run(run_id)

    def promote(self, expected: Aliases, marks: Sequence[Write] = ()) -> Aliases:
        """Make the challenger the champion, and the old champion, if any, the `previous_champion`.

        `marks` are written along. Returns the aliases, read back after the move. A RegistryError says that
        champion and challenger are no longer the expected ones, which the decision was based on; nothing that
        somebody else moved is undone.
        """
        challenger, champion = expected.challenger, expected.champion
        if challenger is None or challenger == champion:
            raise RegistryError(f"{self.name!r} has no challenger to promote.")
        check_unchanged(self.name, expected=expected, client=self.client)
        before, tags = read_aliases_and_tags(self.name, client=self.client)
        history = read_history(self.client, self.name, before, tags).promoted(challenger)
        after = after_promotion(before)
        # The old champion is kept before the alias leaves it.
        writes = [] if champion is None else [point_alias(self.name, PREVIOUS_CHAMPION, champion)]
        writes += [
            point_alias(self.name, CHAMPION, challenger),
            tag_model(self.name, HISTORY_TAG, history.to_tag()),
            drop_alias(self.name, CHALLENGER, challenger),  # a newer challenger keeps it
            *explainer_writes(self.client, explainer_name(self.name), challenger),
            *marks,
        ]
        return self._make("promotion", before, after, writes, tags.get(HISTORY_TAG))

    def roll_back(self, expected: Aliases, marks: Sequence[Write] = ()) -> Aliases:
        """Undo the last promotion: `previous_champion` is champion again; parameters as for `promote`.

        The champion before that one, if any, is `previous_champion` again; a second rollback goes back to it.
        The version that loses its place keeps no alias, and no later rollback goes back to it.
        """
        restored = version_to_restore(self.name, expected)
        before, tags = read_aliases_and_tags(self.name, client=self.client)
        if (before.champion, before.previous_champion) != (expected.champion, restored):
            advice = "Nothing was changed; check the aliases and try again."
            raise RegistryError(changed_sentence(self.name, expected, before, advice))
        history = read_history(self.client, self.name, before, tags).rolled_back()
        after = Aliases(restored, before.challenger, history.previous)
        if history.previous is None:
            previous = drop_alias(self.name, PREVIOUS_CHAMPION, restored)
        else:
            previous = point_alias(self.name, PREVIOUS_CHAMPION, history.previous)
        writes = [
            point_alias(self.name, CHAMPION, restored),
            tag_model(self.name, HISTORY_TAG, history.to_tag()),
            previous,
            *explainer_writes(self.client, explainer_name(self.name), restored),
            *marks,
        ]
        return self._make("rollback", before, after, writes, tags.get(HISTORY_TAG))

    def keep(self, expected: Aliases, marks: Sequence[Write]) -> None:
        """Leave the aliases as they are and write `marks`; parameters as for `promote`."""
        check_unchanged(self.name, expected=expected, client=self.client)
        before = read_aliases(self.name, client=self.client)
        self._make("verdict", before, before, marks, None)

    def _make(
        self,
        kind: Literal["promotion", "rollback", "verdict"],
        before: Aliases,
        after: Aliases,
        writes: Sequence[Write],
        history_tag: str | None,
    ) -> Aliases:
        doing = {
            "promotion": f"promote version {after.champion}",
            "rollback": f"make version {after.champion} champion again",
            "verdict": f"record the comparison with version {after.challenger}",
        }[kind]
        undo: list[Write] = []
        if kind != "verdict":
            undo = [*undone(self.name, before, after), tag_model(self.name, HISTORY_TAG, history_tag)]
            if before.champion is not None:
                undo += explainer_writes(self.client, explainer_name(self.name), before.champion)
        move = Move(kind, self.name, doing, before, after, tuple(writes), tuple(undo))
        _check_rights(self.client, move)
        advice = {"promotion": "The later move stands; compare again."}.get(kind, "The later move stands.")
        return carry_out(self.lock, self.client, move, advice)


def _check_rights(client: MlflowClient, move: Move) -> None:
    """Raise NotAllowedError if a server would refuse a change half-way; the first one tells of the model."""
    if is_url(client.tracking_uri):
        for other in sorted({write.arguments[0] for write in move.writes if write.kind == "alias"}):
            if other != move.model:
                client.update_registered_model(other, client.get_registered_model(other).description)


@contextmanager
def turn(client: MlflowClient, name: str, doing: str, expected: Aliases | None = None) -> Iterator[Turn]:
    """A turn at moving the aliases of `name`, waited for; what a killed command left is put right first.

    A RegistryError ends the waiting when somebody else moves them away from where they are `expected`.
    """
    client = patient(client)

    def check() -> None:
        if expected is not None:
            check_unchanged(name, expected=expected, client=client)

    with locked(client, name, doing, meanwhile=check) as lock:
        yield Turn(name, client, lock, recover(lock, client, name))


def settle(name: str, *, client: MlflowClient, dry_run: bool = False) -> Recovery | None:
    """Finish or undo what a command that was killed had begun; None if there is nothing of that kind.

    A dry run only says what is there.
    """
    client = patient(client)
    move = pending_move(client, name)
    try:
        owner = lock_owner(client, lock_name(name))
    except NotAllowedError:  # whoever moves aliases next finds out
        owner = None
    somebody_is_at_it = owner is not None and not owner.is_gone
    if somebody_is_at_it or (move is None and owner is None):
        return None
    if dry_run:
        begun = "left its lock" if move is None else f"was to {move.doing}"
        aliases = read_aliases(name, client=client)
        sentence = (
            f"A command that {begun} was interrupted: {shown_aliases(aliases)}. "
            "The next one without --dry-run puts that right."
        )
        return Recovery(name, None if move is None else move.kind, "pending", sentence, aliases)
    with turn(client, name, "put right what was interrupted") as taken:
        return taken.recovery


def after_promotion(before: Aliases) -> Aliases:
    """Where the aliases are to be after a promotion."""
    return Aliases(before.challenger, None, before.champion or before.previous_champion)


def version_to_restore(name: str, aliases: Aliases) -> str:
    """Version that a rollback makes champion again; RegistryError if there is no promotion to undo."""
    previous = aliases.previous_champion
    if previous is None or previous == aliases.champion:
        raise RegistryError(
            f"There is no promotion of {name!r} to undo: the alias {PREVIOUS_CHAMPION} is "
            f"{'not set' if previous is None else 'on the champion itself'}."
        )
    return previous
