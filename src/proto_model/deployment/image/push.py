"""An image into a registry, by skopeo: it knows every registry and every way to log in."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from proto_model.deployment.image.errors import ImageError


def push(path: Path, reference: str, say: Callable[[str], None]) -> None:
    """Copy an image file to `NAME:TAG`, or to any transport of skopeo, such as `oci:folder:tag`.

    Raises
    ------
    ImageError
        If skopeo is missing, or the registry refuses.
    """
    if shutil.which("skopeo") is None:
        raise ImageError(
            "Cannot push: skopeo is not installed. On Debian and Ubuntu: apt-get install skopeo. Or load the "
            f"file with docker load -i {path} and push from there."
        )
    known = ("docker://", "oci:", "dir:", "docker-daemon:", "containers-storage:")
    target = reference if reference.startswith(known) else f"docker://{reference}"
    say(f"Pushing to {target}")
    command = ["skopeo", "copy", "--quiet", "--preserve-digests", f"oci-archive:{path}", target]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise ImageError(f"Cannot push to {target}: {' '.join(done.stderr.split())[-400:]}")
