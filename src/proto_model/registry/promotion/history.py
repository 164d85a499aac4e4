"""Which versions were champion before, as a stack on the registered model: what rollbacks go back along."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient

from proto_model.registry.versions import Aliases, found

HISTORY_TAG = "champion_history"
"""Tag of a registered model: its champion, and the versions that it and its forerunners replaced."""

VERDICT_TAG = "comparison_verdict"
"""Tag of a comparison's run, and of the versions that it compared: how it ended."""

REPLACED_VERSION_TAG = "replaced_version"
"""Tag of a version by which 0.3.0 and before went back: the version it took the place of."""

MAX_KEPT = 200


@dataclass(frozen=True)
class History:
    """The champion, if any, and the versions that were champion before it, the latest last.

    A version that was taken back is not among them: no rollback makes it champion again.
    """

    champion: str | None = None
    replaced: tuple[str, ...] = ()

    @property
    def previous(self) -> str | None:
        """Version that a rollback makes champion."""
        return self.replaced[-1] if self.replaced else None

    def promoted(self, version: str) -> History:
        """After a promotion.

        Examples
        --------
        >>> History("1").promoted("2")
        History(champion='2', replaced=('1',))
        """
        replaced = self.replaced if self.champion is None else (*self.replaced, self.champion)
        return History(version, replaced[-MAX_KEPT:])

    def rolled_back(self) -> History:
        """After a rollback, which needs a previous champion.

        Examples
        --------
        >>> History("1").promoted("2").promoted("1").rolled_back()
        History(champion='2', replaced=())
        """
        taken_back = self.champion
        rest = History(self.previous, self.replaced[:-1])
        return rest.without(() if taken_back is None else (taken_back,))

    def without(self, versions: Collection[str]) -> History:
        """The same with no such version to go back to; nor is the champion its own forerunner."""
        kept: list[str] = []
        for version in self.replaced:
            if version not in versions and version not in kept[-1:]:
                kept.append(version)
        while kept and kept[-1] == self.champion:
            kept.pop()
        return History(self.champion, tuple(kept))

    def to_tag(self) -> str:
        """Value of the tag."""
        return json.dumps({"champion": self.champion, "replaced": list(self.replaced)})


def read_history(client: MlflowClient, name: str, aliases: Aliases, tags: Mapping[str, str]) -> History:
    """History of a registered model, from its aliases and tags; versions that were deleted are left out.

    The aliases are right when the tag says otherwise: people move them by hand, and 0.3.0 wrote no such tag.
    """
    known = _from_tag(tags.get(HISTORY_TAG))
    if known is None or (known.champion, known.previous) != (aliases.champion, aliases.previous_champion):
        known = _from_versions(client, name, aliases)
    gone = {
        version for version in set(known.replaced) if found(client.get_model_version, name, version) is None
    }
    return known.without(gone)


def _from_tag(text: str | None) -> History | None:
    if text is None:
        return None
    try:
        content: Any = json.loads(text)
        return History(content["champion"], tuple(map(str, content["replaced"])))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _from_versions(client: MlflowClient, name: str, aliases: Aliases) -> History:
    """As the aliases and the versions' own tags tell it; the tags may run in a circle."""
    chain: list[str] = []
    version = aliases.previous_champion
    while version is not None and version not in (*chain, aliases.champion):
        chain.append(version)
        model_version = found(client.get_model_version, name, version)
        version = None if model_version is None else model_version.tags.get(REPLACED_VERSION_TAG)
    return History(aliases.champion, tuple(reversed(chain)))
