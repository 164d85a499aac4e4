"""Tables of docs/files.md: every setting with its default in force, the common limits, and every format."""

import dataclasses
import re
from pathlib import Path

from mapper.http.settings import MapperSettings
from proto_model.files import FORMATS
from proto_model.files.transfer.settings import PREFIX, FileSettings
from proto_model.serving.http.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
SETTINGS = [field.name.upper() for field in dataclasses.fields(FileSettings)]


def test_every_setting_is_in_the_table_with_its_default_and_no_other_is():
    section = DOCUMENT.partition("| `PROTO_MODEL_FILES_…` | default | |")[2].partition("\n\n")[0]
    table = re.findall(r"^\| `([A-Z_]+)` \|(?: `([^`]+)`)? \|", section, re.MULTILINE)

    assert [name for name, _ in table] == SETTINGS
    given = {PREFIX + name: default for name, default in table if default}
    assert FileSettings.from_environment(given) == FileSettings()
    not_given = [name for name, default in table if not default]
    assert not any(getattr(FileSettings(), name.lower()) for name in not_given)


def test_the_step_by_step_table_has_the_defaults_in_force():
    section = DOCUMENT.partition("| limit | default | |")[2].partition("\n\n")[0]
    settings, server, mapper = FileSettings(), ServerSettings(), MapperSettings()

    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|", section, re.MULTILINE))
    rows.pop("`mlflow models serve --timeout`")  # MLflow's own
    assert settings.max_input_bytes == settings.max_output_bytes
    assert not settings.allowed_hosts + settings.allowed_networks
    assert rows == {
        "`PROTO_MODEL_FILES_ALLOWED_HOSTS`, `…_ALLOWED_NETWORKS`": "none",
        "`PROTO_MODEL_FILES_ALLOW_HTTP`": f"`{str(settings.allow_http).lower()}`",
        "`PROTO_MODEL_FILES_MAX_INPUT_BYTES`, `…_MAX_OUTPUT_BYTES`": f"{settings.max_input_bytes >> 30} GiB",
        "`PROTO_MODEL_FILES_MAX_JOB_S`": f"{settings.max_job_s:g} s",
        "`python -m proto_model serve --file-timeout-s`, `--file-jobs`": (
            f"{server.file_timeout_s:g} s, {server.file_jobs}"
        ),
        "`python -m mapper serve --file-timeout-s`": f"{mapper.file_timeout_s:g} s",
    }


def test_settings_that_are_mentioned_exist():
    mentioned = set(re.findall(r"PROTO_MODEL_FILES_([A-Z_]+)|`…_([A-Z_]+)`", DOCUMENT))

    assert {name or short for name, short in mentioned} <= set(SETTINGS)


def test_the_table_of_formats_is_made_of_the_formats():
    rows = [
        f"| `{known.name}` | {known.title} | {', '.join(f'`.{suffix}`' for suffix in known.suffixes)} | "
        f"{', '.join(f'`{name}`' for name in known.names[1:])} | `{known.media_types[0]}` |"
        for known in FORMATS.values()
    ]

    assert "|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n" in DOCUMENT


def test_limits_of_servers_are_theirs():
    server, mapper = ServerSettings(), MapperSettings()

    limit = f"{server.file_timeout_s:g} s |"
    assert f"| `python -m proto_model serve` | `--file-timeout-s` | {limit}" in DOCUMENT
    assert f"when `generate_mlserver_configs.sh` is run | {limit}" in DOCUMENT
    assert f"| `MAPPER_FILE_TIMEOUT_S` or `--file-timeout-s` | {mapper.file_timeout_s:g} s |" in DOCUMENT
    assert f"at most {server.max_files} jobs" in DOCUMENT
    assert f"let {server.max_waiting_files} wait" in DOCUMENT
    assert f"{server.drain_timeout_s:g} s (`drain_timeout_s`)" in DOCUMENT
