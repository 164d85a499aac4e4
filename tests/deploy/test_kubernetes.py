"""The manifests: what Kubernetes, kustomize, KServe and the services' own parsers say of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mapper.http.settings import PREFIX, MapperSettings
from proto_model.cli import container, serve
from proto_model.deployment.image.recipe import PORT
from proto_model.deployment.image.rootfs import USER
from tests.deploy.kustomization import ACCESS, DEPLOY, KUBERNETES, OVERLAYS, containers, documents, rendered
from tests.deploy.published import kserve_faults, kubernetes_validate

MINORS = ("1.33.1", "1.34.1", "1.35.0", "1.36.0", "1.37.0")
FOLDERS = [KUBERNETES / "overlays" / name for name in OVERLAYS] + [DEPLOY / "kserve"]
RENDERED = {folder.name: rendered(folder) for folder in FOLDERS[:2]}
RENDERED["access"] = rendered(FOLDERS[1], ACCESS)
DEPLOYMENTS = [
    pytest.param(resource, id=f"{name}-{resource['metadata']['name']}")
    for name, resources in RENDERED.items()
    for resource in resources
    if resource["kind"] == "Deployment"
]
SECRET_MODE = 0o440  # of what the services' group alone may read
ENDING_S = 5
"""After its drain time, a server takes a few seconds to end."""


@pytest.mark.parametrize("version", MINORS)
def test_kubernetes_takes_every_manifest(version: str, tmp_path: Path):
    path = tmp_path / "all.yaml"
    resources = [resource for found in RENDERED.values() for resource in found]
    path.write_text(yaml.safe_dump_all([*resources, _pod_of_the_runtime()]))

    done = subprocess.run(
        [kubernetes_validate(), "-k", version, "--strict", path], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") == len(resources) + 1


def test_the_check_refuses_a_misspelt_key(tmp_path: Path):
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(_pod_of_the_runtime() | {"spec": {"container": []}}))

    done = subprocess.run([kubernetes_validate(), "--strict", tmp_path / "wrong.yaml"], capture_output=True)

    assert done.returncode != 0


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_kustomize_makes_of_them_what_the_tests_check(folder: Path):
    built = [command for name, *command in _KUSTOMIZE if shutil.which(name)]
    if not built:
        pytest.skip("neither kubectl nor kustomize is installed")

    done = subprocess.run([*built[0], folder], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert _by_name(list(yaml.safe_load_all(done.stdout))) == _by_name(rendered(folder))


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_option_is_known_to_what_runs(deployment: dict[str, Any]):
    (one,) = containers(deployment)
    if deployment["metadata"]["name"] == "mapper":
        assert one["args"] == ["serve"]
        values = {item["name"]: item["value"] for item in one["env"]}
        known = {PREFIX + name.upper() for name in MapperSettings.__dataclass_fields__}
        assert set(values) <= known
        MapperSettings.load(values, {})  # raises if a value is wrong
    else:
        _served(one["args"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_probes_ask_the_port_that_answers_however_busy_the_other_one_is(deployment: dict[str, Any]):
    (one,) = containers(deployment)
    if deployment["metadata"]["name"] == "mapper":
        settings = MapperSettings.load({item["name"]: item["value"] for item in one["env"]}, {})
        health_port = settings.health_port
    else:
        health_port = _served(one["args"]).health_port

    assert {"name": "health", "containerPort": health_port} in one["ports"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert one[probe]["httpGet"]["port"] == "health"


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_pod_has_the_time_that_its_server_takes_to_end(deployment: dict[str, Any]):
    (one,) = containers(deployment)
    if deployment["metadata"]["name"] == "mapper":
        drain_s = MapperSettings.load({item["name"]: item["value"] for item in one["env"]}, {}).drain_s
    else:
        drain_s = _served(one["args"]).drain_timeout_s

    pause_s = one["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert (
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        >= pause_s + drain_s + ENDING_S
    )


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_pod_has_no_more_rights_than_it_needs(deployment: dict[str, Any]):
    pod = deployment["spec"]["template"]["spec"]
    (one,) = pod["containers"]

    assert pod["securityContext"]["runAsUser"] == USER
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # The root file system is read-only: temporary files need a place, and it is the only one.
    temporary, *secrets = one["volumeMounts"]
    assert temporary == {"name": "temporary", "mountPath": "/tmp"}
    assert all(mount["readOnly"] for mount in secrets)
    assert [mount["name"] for mount in one["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]
    first, *others = pod["volumes"]
    assert set(first) == {"name", "emptyDir"}
    for volume in others:
        assert (volume.get("secret") or volume["projected"])["defaultMode"] == SECRET_MODE


def test_with_the_component_both_services_ask_for_tokens_and_speak_tls():
    deployments = {one["metadata"]["name"]: one for one in RENDERED["access"] if one["kind"] == "Deployment"}
    (mapper,), (server,) = containers(deployments["mapper"]), containers(deployments["model-server"])
    settings = MapperSettings.load({item["name"]: item["value"] for item in mapper["env"]}, {})
    options = _served(server["args"])
    names = [item["name"] for item in mapper["env"]]

    assert len(names) == len(set(names))
    assert settings.model_server_url == "https://model-server"
    for protection in (settings, options):
        assert protection.open == "health,metrics"
    places = {
        "mapper": [settings.model_token_file, settings.model_ca_file, *_files(settings)],
        "model-server": _files(options),
    }
    for name, deployment in deployments.items():
        assert set(places[name]) <= set(_mounted_files(deployment))
    ports = {
        one["metadata"]["name"]: one["spec"]["ports"]
        for one in RENDERED["access"]
        if one["kind"] == "Service"
    }
    assert [[(port["port"], port["targetPort"]) for port in found] for found in ports.values()] == [
        [(443, "http")],
        [(443, "http")],
    ]


def _files(protection: Any) -> list[str]:
    return [protection.token_file, protection.tls_cert, protection.tls_key]


def _mounted_files(deployment: dict[str, Any]) -> list[str]:
    """Paths of the files that the Secrets of docs/deployment.md become."""
    keys = {"tokens": ["tokens"], "tls": ["tls.crt", "tls.key", "ca.crt"]}
    (one,) = containers(deployment)
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    found = []
    for mount in one["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "secret" in volume:
            names = keys[volume["secret"]["secretName"].rpartition("-")[2]]
        else:
            sources = volume.get("projected", {}).get("sources", [])
            names = [item["path"] for source in sources for item in source["secret"]["items"]]
        found += [f"{mount['mountPath']}/{name}" for name in names]
    return found


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_bodies_in_memory_fit_into_the_limit(deployment: dict[str, Any]):
    (one,) = containers(deployment)
    if deployment["metadata"]["name"] == "mapper":
        settings = MapperSettings.load({item["name"]: item["value"] for item in one["env"]}, {})
        bodies, body = settings.max_bodies_bytes, settings.max_body_bytes
    else:
        arguments = _served(one["args"])
        bodies, body = arguments.max_bodies_bytes, arguments.max_body_bytes

    limit = one["resources"]["limits"]["memory"]
    assert body <= bodies <= {"1Gi": 1024, "512Mi": 512}[limit] * 2**20 / 4


@pytest.mark.parametrize("folder", FOLDERS[:2], ids=lambda folder: folder.name)
def test_everything_selects_what_there_is(folder: Path):
    resources = rendered(folder)
    pods = {
        resource["metadata"]["name"]: resource["spec"]["template"]["metadata"]["labels"]
        for resource in resources
        if resource["kind"] == "Deployment"
    }
    assert set(pods) == {"model-server", "mapper"}
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler"):
        found = {one["metadata"]["name"]: one["spec"] for one in resources if one["kind"] == kind}
        assert set(found) == set(pods), kind
        for name, spec in found.items():
            if kind == "HorizontalPodAutoscaler":
                assert spec["scaleTargetRef"]["name"] == name
                assert 1 <= spec["minReplicas"] < spec["maxReplicas"]
                continue
            selector = spec.get(
                "podSelector", spec["selector"] if kind == "Service" else spec.get("selector")
            )
            wanted = selector if kind == "Service" else selector["matchLabels"]
            assert wanted.items() <= pods[name].items()
    for resource in resources:
        for one in containers(resource):
            assert {port["name"]: port["containerPort"] for port in one["ports"]} == {
                "http": PORT,
                "health": int(resource["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]),
            }


def test_autoscalers_read_metrics_that_the_adapter_makes():
    rules = documents(KUBERNETES / "monitoring" / "adapter-rules.yaml")[0]["rules"]
    made = {rule["name"]["as"] for rule in rules}

    asked = {
        metric["pods"]["metric"]["name"]
        for resource in rendered(KUBERNETES / "overlays" / "production")
        if resource["kind"] == "HorizontalPodAutoscaler"
        for metric in resource["spec"]["metrics"]
    }
    assert asked == made


def test_kserve_takes_the_runtime_and_the_service():
    kinds = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}

    for resource in rendered(DEPLOY / "kserve"):
        assert kserve_faults(resource, kinds[resource["kind"]]) == []
    wrong = {"spec": {"predictor": {"model": {"modelFormt": {}}}}}
    assert kserve_faults(wrong, "V1beta1InferenceService") == [
        "/spec/predictor/model: V1beta1ModelSpec has no modelFormt"
    ]


def test_the_service_names_the_runtime_and_a_format_that_it_supports():
    runtime, service = rendered(DEPLOY / "kserve")
    model = service["spec"]["predictor"]["model"]

    assert model["runtime"] == runtime["metadata"]["name"]
    formats = [
        {key: item[key] for key in ("name", "version")} for item in runtime["spec"]["supportedModelFormats"]
    ]
    assert model["modelFormat"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    (one,) = containers(runtime)
    assert one["name"] == "kserve-container"
    _served(one["args"])


_KUSTOMIZE = (("kubectl", "kubectl", "kustomize"), ("kustomize", "kustomize", "build"))


def _served(args: list[str]) -> Any:
    """Options of `serve`, as the container's entry point passes them on."""
    given = container.build_parser().parse_args(args)
    assert given.action == "serve"
    return serve.build_parser().parse_args(given.options)


def _pod_of_the_runtime() -> dict[str, Any]:
    """A pod with the containers of the KServe runtime, whose own schema leaves them to Kubernetes."""
    runtime, _ = rendered(DEPLOY / "kserve")
    spec = {key: runtime["spec"][key] for key in ("containers", "volumes")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runtime"}, "spec": spec}


def _by_name(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in resources}
