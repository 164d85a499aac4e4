"""A cluster gets new images: a kustomization with their digests on top of an overlay, and kubectl."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from proto_model.deployment.release.errors import ReleaseError

KUSTOMIZATION = "kustomization.yaml"
_NAMESPACE = re.compile(r"^namespace:\s*['\"]?([^\s'\"#]+)", re.MULTILINE)


def overlay_of(environment: str, overlays: Path) -> Path:
    """Folder of an environment's manifests; ReleaseError if there is none."""
    folder = overlays / environment
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", environment) or not (folder / KUSTOMIZATION).is_file():
        known = sorted(path.parent.name for path in overlays.glob(f"*/{KUSTOMIZATION}"))
        raise ReleaseError(
            f"There is no environment {environment!r} in {overlays}. "
            f"Set DEPLOYMENT_ENV to one of: {', '.join(known) or 'none; see --overlays'}."
        )
    return folder


def write_kustomization(
    folder: Path, overlay: Path, images: Mapping[str, tuple[str, str]], version: str
) -> Path:
    """Write a kustomization that puts images, by manifest name their name and digest, into an overlay."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(overlay.resolve(), folder.resolve())],
        "commonAnnotations": {"proto-model/version": version},
        "images": [
            {"name": image, "newName": name, "digest": digest} for image, (name, digest) in images.items()
        ],
    }
    path = folder / KUSTOMIZATION
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")  # which is YAML, too
    return path


def roll_out(
    folder: Path, overlay: Path, deployments: tuple[str, ...], wait: str, say: Callable[[str], None]
) -> None:
    """Apply a kustomization, and wait until new pods have taken the place of all old ones.

    Raises
    ------
    ReleaseError
        If kubectl is missing or refuses, or the pods do not get ready in time. Old pods stay as long as new
        ones are not ready.
    """
    if shutil.which("kubectl") is None:
        raise ReleaseError("Cannot deploy: kubectl is not installed. Install it, or give --no-deploy.")
    space = _NAMESPACE.search((overlay / KUSTOMIZATION).read_text(encoding="utf-8"))
    inside = ["--namespace", space[1]] if space else []
    say(_kubectl("apply", "--kustomize", str(folder)))
    for name in deployments:
        say(_kubectl("rollout", "status", f"deployment/{name}", *inside, f"--timeout={wait}"))


def _kubectl(*arguments: str) -> str:
    done = subprocess.run(["kubectl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise ReleaseError(
            f"kubectl {' '.join(arguments[:2])} failed: {' '.join(done.stderr.split())[-600:]} "
            "Pods of the version before stay until new ones are ready."
        )
    return done.stdout.strip()
