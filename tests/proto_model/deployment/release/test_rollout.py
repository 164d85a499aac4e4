from pathlib import Path

import pytest

from proto_model.deployment.release import Place, ReleaseError, roll_out, write_kustomization
from proto_model.deployment.release.rollout import overlay_of
from tests.deploy.kustomization import KUBERNETES, containers, rendered

OVERLAYS = KUBERNETES / "overlays"
IMAGES = {
    name: (f"registry.example.com/{name}", f"sha256:{n:064}")
    for n, name in enumerate(("model-server", "mapper"))
}


def test_images_get_their_digests_on_top_of_an_overlay(tmp_path: Path):
    write_kustomization(tmp_path / "build", overlay_of("production", OVERLAYS), IMAGES, "7")

    deployments = [one for one in rendered(tmp_path / "build") if one["kind"] == "Deployment"]
    assert {containers(one)[0]["image"] for one in deployments} == {"@".join(one) for one in IMAGES.values()}
    for one in deployments:
        assert one["spec"]["template"]["metadata"]["annotations"]["proto-model/version"] == "7"
        assert one["metadata"]["namespace"] == "proto-model-production"


@pytest.mark.parametrize("environment", ["prod", "../staging", "", "Staging"])
def test_an_environment_that_has_no_overlay_is_told(environment):
    with pytest.raises(ReleaseError, match="one of: production, staging"):
        overlay_of(environment, OVERLAYS)


def test_what_kubectl_refuses_is_told_and_what_it_is_asked_is_about_one_namespace(tmp_path, monkeypatch):
    log = tmp_path / "log"
    (tmp_path / "kubectl").write_text(
        f'#!/bin/sh\necho "$@" >> {log}\ncase "$1" in rollout) echo timed out >&2; exit 1;; esac\n'
    )
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(ReleaseError, match=r"kubectl rollout status failed: timed out .* stay until"):
        roll_out(tmp_path, OVERLAYS / "staging", ("model-server",), "5m", lambda text: None)
    assert log.read_text().splitlines()[-1] == (
        "rollout status deployment/model-server --namespace proto-model-staging --timeout=5m"
    )


def test_images_go_to_a_registry_or_to_a_folder(tmp_path: Path):
    assert (
        Place("registry.example.com/churn/").reference("mapper", "7") == "registry.example.com/churn/mapper:7"
    )
    folder = Place(f"oci:{tmp_path / 'images'}")
    assert folder.reference("mapper", "7") == f"oci:{tmp_path / 'images' / 'mapper'}:7"
    assert folder.name("mapper") == "images/mapper"
