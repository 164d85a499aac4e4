"""Deployments that are files: an image, or the manifests of a cluster. Others run them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from proto_model.deployment.image import ImageOptions, Server, build_image, recipe_of
from proto_model.deployment.plugin.config import IMAGE, KUBERNETES, trust_of, value_of
from proto_model.deployment.plugin.errors import DeploymentError, DeploymentInputError
from proto_model.deployment.plugin.process_target import now, place_and_version, say
from proto_model.deployment.plugin.records import Record
from proto_model.deployment.release.rollout import KUSTOMIZATION, overlay_of
from proto_model.registry.publishing import trusted_apart
from proto_model.registry.tracking import commit_of

WRITTEN = "written"
_MARK = ".proto_model_manifests"  # in a folder that may be replaced
_IMAGE = re.compile(
    r"(?P<name>[^\s@]+?)(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[A-Za-z0-9_][\w.-]{0,127}))"
)


def write(kind: str, name: str, model_uri: str, config: Mapping[str, str]) -> Record:
    """Write the files of a deployment; its record says where they are."""
    needed = {IMAGE: ("out",), KUBERNETES: ("out", "image", "mapper_image")}[kind]
    missing = [option for option in needed if not config.get(option)]
    if missing:
        raise DeploymentInputError(
            f"proto-model:{kind} needs {' and '.join(f'-C {one}=' for one in missing)}."
        )
    config = {**config, "out": str(Path(config["out"]).absolute())}
    model_uri, version = place_and_version(model_uri)
    record = Record(name, kind, model_uri, version, now(), config)
    result = _image(record) if kind == IMAGE else _manifests(record)
    return Record(name, kind, model_uri, version, record.created, config, result=result)


def _image(record: Record) -> dict[str, str]:
    config, out = record.config, Path(record.config["out"])
    with tempfile.TemporaryDirectory(prefix="proto_model-") as download:
        server = cast(Server, value_of(IMAGE, config, "server"))
        recipe = recipe_of(trusted_apart(_pinned(record), Path(download), trust_of(config)), server)
        arch, mirror, tag = (config.get(name, "") for name in ("arch", "mirror", "tag"))
        options = ImageOptions(arch, mirror, tag, commit_of(recipe.run_id))
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            image = build_image(recipe, out, options, say)
        except OSError as error:
            raise DeploymentError(f"Cannot write {out}: {error.strerror or error}.") from error
    return {"out": str(out), "digest": image.digest}


def _pinned(record: Record) -> str:
    """URI of the version that was resolved: an alias may move on in the meantime."""
    if not record.version:
        return record.model_uri
    name = re.split("[@/]", record.model_uri.removeprefix("models:/"), maxsplit=1)[0]
    return f"models:/{name}/{record.version}"


def _manifests(record: Record) -> dict[str, str]:
    """A copy of the base and an overlay, and a kustomization on top; `kubectl apply -k` takes the folder."""
    config, out = record.config, Path(record.config["out"])
    source = Path(value_of(KUBERNETES, config, "manifests"))
    images = [
        _reference(image, config[option])
        for image, option in (("model-server", "image"), ("mapper", "mapper_image"))
    ]
    overlay = overlay_of(value_of(KUBERNETES, config, "environment"), source / "overlays")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / _MARK).is_file())):
        raise DeploymentInputError(f"{out} holds other files. Give a new or an empty folder with -C out=.")
    content: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"overlays/{overlay.name}"],
        "labels": [{"pairs": {"app.kubernetes.io/instance": record.name}, "includeTemplates": True}],
        "images": images,
    }
    if record.version:
        content["commonAnnotations"] = {"proto-model/version": record.version}
    if config.get("replicas"):
        content["patches"] = [_at_least(int(config["replicas"]))]
    new = out.with_name(f".{out.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(source / "base", new / "base")
        shutil.copytree(overlay, new / "overlays" / overlay.name)
        (new / _MARK).touch()
        # JSON is YAML, too.
        (new / KUSTOMIZATION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        new.replace(out)
    except OSError as error:
        raise DeploymentError(f"Cannot write {out}: {error.strerror or error}.") from error
    say(f"kubectl apply -k {out}")
    return {"out": str(out)}


def _reference(image: str, text: str) -> dict[str, str]:
    """An image of the manifests, replaced by another one."""
    found = _IMAGE.fullmatch(text)
    if found is None:
        raise DeploymentInputError(
            f"{text!r} is no image. Give NAME:TAG or NAME@sha256:..., such as registry.example.com/churn:7."
        )
    end = {"digest": found["digest"]} if found["digest"] else {"newTag": found["tag"]}
    return {"name": image, "newName": found["name"], **end}


def _at_least(n_pods: int) -> dict[str, Any]:
    """Patch of the autoscalers, which decide on the number of pods."""
    patch = [
        {"op": "replace", "path": "/spec/minReplicas", "value": n_pods},
        {"op": "replace", "path": "/spec/maxReplicas", "value": 4 * n_pods},
    ]
    return {"target": {"kind": "HorizontalPodAutoscaler"}, "patch": json.dumps(patch)}
