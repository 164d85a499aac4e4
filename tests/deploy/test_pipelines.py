"""The pipelines call one command, with options that it knows, for the environments that there are."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proto_model.cli import release
from proto_model.registry.publishing import Trust, make_keys, read_verify_key
from proto_model.registry.publishing.trust import KEY_VARIABLE
from tests.deploy.kustomization import DEPLOY, OVERLAYS, ROOT, documents

(GITLAB,) = documents(DEPLOY / "pipelines" / "gitlab-ci.yml")
(GITHUB,) = documents(DEPLOY / "pipelines" / "github-workflow.yml")


def commands(pipeline: Any) -> list[str]:
    """Lines of shell in a pipeline."""
    if isinstance(pipeline, str):
        return pipeline.splitlines()
    items = (
        pipeline.values() if isinstance(pipeline, dict) else pipeline if isinstance(pipeline, list) else ()
    )
    return [line for item in items for line in commands(item)]


@pytest.mark.parametrize("pipeline", [GITLAB, GITHUB], ids=["gitlab", "github"])
def test_a_pipeline_calls_one_command_that_does_the_rest(pipeline: dict[str, Any]):
    (line,) = (line for line in commands(pipeline) if "-m proto_model" in line)
    words = shlex.split(line)

    arguments = release.build_parser().parse_args(words[words.index("release") + 1 :])

    assert arguments.model_uri == "$MODEL_URI"
    assert not any((arguments.dry_run, arguments.no_deploy, arguments.context))
    (install,) = (line for line in commands(pipeline) if "pip install" in line)
    assert (ROOT / re.search(r"-c (\S+)", install)[1]).is_file()
    tools = {word for line in commands(pipeline) if "apt-get install" in line for word in line.split()}
    assert {"mmdebstrap", "skopeo"} <= tools


def test_both_pipelines_offer_the_environments_that_have_manifests():
    inputs = GITHUB[True]["workflow_dispatch"]["inputs"]  # YAML 1.1 reads `on` as true

    assert tuple(GITLAB["variables"]["DEPLOYMENT_ENV"]["options"]) == OVERLAYS
    assert tuple(inputs["deployment_env"]["options"]) == OVERLAYS
    assert {path.name for path in (DEPLOY / "kubernetes" / "overlays").iterdir()} == set(OVERLAYS)
    job = GITHUB["jobs"]["release"]
    assert job["env"]["DEPLOYMENT_ENV"] == job["environment"] == "${{ inputs.deployment_env }}"
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)


def test_no_text_of_a_user_is_pasted_into_a_shell():
    for step in GITHUB["jobs"]["release"]["steps"]:
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("pipeline", [GITLAB, GITHUB], ids=["gitlab", "github"])
def test_a_key_that_a_pipeline_is_given_has_to_have_signed_the_version(
    pipeline: dict[str, Any], tmp_path: Path
):
    key = make_keys(tmp_path / "keys")[1]
    lines = [line.strip() for line in commands(pipeline)]
    start = next(n for n, line in enumerate(lines) if line.startswith('if [ -n "$VERIFY_KEY" ]'))
    end = next(n for n in range(start, len(lines)) if lines[n].endswith("fi"))
    script = "\n".join(lines[start : end + 1]).replace("/tmp/", f"{tmp_path}/")
    after = tmp_path / "variables"  # GitHub's form of those that the next step has
    variables = {
        "VERIFY_KEY": str(key) if pipeline is GITLAB else key.read_text(),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_ENV": str(after),
    }

    for given in (variables, variables | {"VERIFY_KEY": ""}):
        after.write_text("")
        say = f'\n[ -s "$GITHUB_ENV" ] || echo "{KEY_VARIABLE}=${{{KEY_VARIABLE}:-}}" > "$GITHUB_ENV"'
        environment = {"PATH": os.environ["PATH"]} | given
        subprocess.run(["bash", "-eu", "-c", f"umask 077\n{script}{say}"], env=environment, check=True)
        trust = Trust.asked(False, (), dict([after.read_text().strip().split("=", 1)]))
        wanted = [read_verify_key(key.read_text()).fingerprint] if given["VERIFY_KEY"] else []
        assert [one.fingerprint for one in trust.verify_keys()] == wanted
