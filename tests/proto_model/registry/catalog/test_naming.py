import pytest

from proto_model.errors import InputError, RegistryError
from proto_model.registry.catalog.naming import Named, living_version, named_version
from proto_model.registry.catalog.tombstones import Tombstone


@pytest.mark.parametrize("form", ["{}/3", "models:/{}/3", "{}@best", "models:/{}@best", " {}/003 "])
def test_a_version_has_many_names(client, model, form):
    client.set_registered_model_alias(model, "best", "3")
    assert str(living_version(client, form.format(model)).version) == "3"


def test_a_name_alone_is_the_newest_version_to_look_at_and_none_to_change(client, model):
    newest = named_version(client, Named.of(model))
    assert not isinstance(newest, Tombstone)
    assert str(newest.version) == "4"
    with pytest.raises(InputError, match="names no version"):
        living_version(client, model)


@pytest.mark.parametrize(
    "text", ["", "a/b", "a@b/3", "runs:/1/model", "a/", "a/²", "models:/a@b@c", "a/9999999999"]
)
def test_what_is_no_name_is_told(text):
    with pytest.raises(InputError, match="names no model"):
        Named.of(text)


def test_what_is_not_there_is_told(client, model):
    client.set_registered_model_alias(model, "best", "3")
    client.create_registered_model(f"{model}_empty")
    for text, message in [
        ("nobody/1", "no registered model 'nobody'"),
        (f"{model}@worst", "no alias 'worst'. It has 'best'"),
        (f"{model}/9", "no version 9 .* versions up to 4"),
        (f"{model}/0", "no version 0"),
        (f"{model}_empty@best", "It has no alias"),
        (f"{model}_empty/1", "which has no version"),
    ]:
        with pytest.raises(RegistryError, match=message):
            living_version(client, text)
    with pytest.raises(RegistryError, match="has no version"):
        named_version(client, Named.of(f"{model}_empty"))


def test_a_version_that_mlflow_deleted_is_told_apart_from_one_that_never_was(client, model):
    client.delete_model_version(model, "2")
    with pytest.raises(RegistryError, match=r"Version 2 .* was deleted, not by this command"):
        living_version(client, f"{model}/2")
