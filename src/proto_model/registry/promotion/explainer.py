"""The explainer's champion follows the model's."""

from __future__ import annotations

from mlflow import MlflowClient

from proto_model.registry.versions import CHALLENGER, CHAMPION, set_alias, version_of_alias

__all__ = ["let_explainer_follow"]


def let_explainer_follow(client: MlflowClient, name: str, version: str) -> str | None:
    """Give the alias `champion` of `<name>_explainer` to the version that explains a version of `name`.

    Parameters
    ----------
    client : MlflowClient
        Of the registry.
    name, version : str
        Registered model and its new champion.

    Returns
    -------
    str or None
        Version of the explainer; None when none has the tag `explained_version` for it, and nothing changes.
    """
    explainer = f"{name}_explainer"
    found = client.search_model_versions(f"name = '{explainer}' and tag.explained_version = '{version}'")
    if not found:
        return None
    newest = str(max(int(item.version) for item in found))
    set_alias(explainer, CHAMPION, newest, client=client)
    challenger = version_of_alias(explainer, CHALLENGER, client=client)
    if challenger is not None and str(challenger.version) == newest:
        client.delete_registered_model_alias(explainer, CHALLENGER)
    return newest
