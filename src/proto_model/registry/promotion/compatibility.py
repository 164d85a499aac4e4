"""Whether one model version can take another's place: what would break for those who call it."""

from __future__ import annotations

from proto_model.schema import ModelSchema

__all__ = ["differences"]


def differences(champion: ModelSchema, challenger: ModelSchema) -> list[str]:
    """What callers of the champion would trip over in the challenger; empty when it can take its place.

    Categories, ranges, medians and the order of features may differ: every new training table changes them.
    A feature that takes missing values in the challenger only breaks nobody's requests.

    Parameters
    ----------
    champion, challenger : ModelSchema
        What the two versions take and return.

    Returns
    -------
    list of str
        One phrase per difference.
    """
    found = []
    if (champion.target, champion.target_type) != (challenger.target, challenger.target_type):
        found.append(
            f"target {champion.target!r} ({champion.target_type}) against "
            f"{challenger.target!r} ({challenger.target_type})"
        )
    if list(champion.classes) != list(challenger.classes):
        found.append(f"classes {list(champion.classes)} against {list(challenger.classes)}")
    old = {feature.name: feature for feature in champion.features}
    new = {feature.name: feature for feature in challenger.features}
    if missing := [name for name in old if name not in new]:
        found.append(f"features of the champion only: {missing}")
    if added := [name for name in new if name not in old]:
        found.append(f"features of the challenger only: {added}")
    for name, before in old.items():
        after = new.get(name, before)
        if before.type != after.type:
            found.append(f"feature {name!r}: {before.type} against {after.type}")
        if before.nullable and not after.nullable:
            found.append(f"feature {name!r}: the champion takes missing values, the challenger does not")
    return found
