from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from proto_model.files.transfer import FileSettings, SettingsError


def test_what_is_not_set_keeps_its_default() -> None:
    assert FileSettings.from_environment({"PATH": "/bin"}) == FileSettings()


def test_each_kind_of_value_is_read() -> None:
    settings = FileSettings.from_environment(
        {
            "PROTO_MODEL_FILES_ALLOWED_HOSTS": " MinIO.example:9000, other.example,",
            "PROTO_MODEL_FILES_ALLOWED_NETWORKS": "10.0.0.0/8,fd00::/8",
            "PROTO_MODEL_FILES_ALLOW_HTTP": "True",
            "PROTO_MODEL_FILES_READ_TIMEOUT_S": "2.5",
            "PROTO_MODEL_FILES_MAX_ROWS": "1000",
            "PROTO_MODEL_FILES_TEMP_DIR": "/var/tmp",
            "PROTO_MODEL_FILES_N_WORKERS": "0",
        }
    )

    assert settings.allowed_hosts == ("minio.example:9000", "other.example")
    assert settings.allowed_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.allow_http is True
    assert (settings.read_timeout_s, settings.max_rows, settings.temp_dir) == (2.5, 1000, "/var/tmp")
    assert settings.workers >= 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_ROWS", "many"),
        ("MAX_ROWS", "-1"),
        ("MAX_ROWS", "0"),
        ("MAX_JOB_S", "nan"),
        ("ALLOW_HTTP", "maybe"),
        ("ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("ALOWED_HOSTS", "minio.example"),
    ],
)
def test_a_value_or_name_that_is_wrong_is_an_error(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"PROTO_MODEL_FILES_{variable}"):
        FileSettings.from_environment({f"PROTO_MODEL_FILES_{variable}": value})


@pytest.mark.parametrize(
    ("variable", "content"),
    [("TEMP_DIR", None), ("TEMP_DIR", "a file"), ("CA_FILE", None), ("CA_FILE", "no certificate")],
)
def test_a_path_that_cannot_be_used_is_found_at_once(
    tmp_path: Path, variable: str, content: str | None
) -> None:
    path = tmp_path / "there"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingsError, match=f"PROTO_MODEL_FILES_{variable}.*there"):
        FileSettings.from_environment({f"PROTO_MODEL_FILES_{variable}": str(path)})
