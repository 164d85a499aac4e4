import pytest

from mapper.errors import SettingsError
from mapper.http.settings import MapperSettings


def test_flags_win_over_variables_and_variables_over_defaults():
    settings = MapperSettings.load(
        {"MAPPER_PORT": "9000", "MAPPER_WORKERS": "3"}, {"port": 9001, "workers": None}
    )

    assert (settings.port, settings.workers, settings.host) == (9001, 3, "127.0.0.1")


def test_every_fault_is_named_at_once():
    environ = {
        "MAPPER_PORT": "http",
        "MAPPER_MAX_ROWS": "0",
        "MAPPER_MODEL_SERVER_URL": "models",
        "MAPPER_SIGNATURE": "x",
    }

    with pytest.raises(SettingsError) as caught:
        MapperSettings.load(environ, {})

    for name in ("MAPPER_PORT", "max_rows", "model_server_url", "signature"):
        assert name in str(caught.value)


def test_misspelt_variables_are_told_with_what_was_meant():
    (sentence,) = MapperSettings.misspelt({"MAPPER_PROT": "1", "MAPPER_PORT": "1", "HOME": "/"})

    assert sentence == "MAPPER_PROT is not a setting and has no effect. Did you mean MAPPER_PORT?"


def test_secrets_in_urls_are_not_shown():
    shown = MapperSettings.load({}, {"registry_url": "https://me:secret@mlflow/x?token=secret"}).shown()

    assert "registry_url=https://mlflow/x " in shown
    assert "secret" not in shown


def test_settings_reach_the_model_servers_client():
    limits = MapperSettings.load({}, {"file_timeout_s": 7.0, "max_waiting": 0}).limits

    assert (limits.file_timeout_s, limits.max_waiting) == (7.0, 0)
