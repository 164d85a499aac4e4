"""Whether a package holds what was published, and runs nothing else than what this release writes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from proto_model.deployment.package import template
from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.facts import VersionFacts
from proto_model.deployment.package.layout import (
    ARTIFACTS,
    INTERFACE,
    MODEL,
    PUBLICATION,
    REQUIREMENTS,
    SETUP,
    VERSION,
)
from proto_model.deployment.package.wheel import WHEEL, needed, write_wheel
from proto_model.registry.publishing import Publication, Trust, Verdict
from proto_model.registry.publishing.findings import check
from proto_model.registry.publishing.verdict import verdict_of

_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==[0-9][0-9A-Za-z.+!]*")


def read_facts(folder: Path) -> VersionFacts:
    """What a package says of its version."""
    try:
        return VersionFacts.of_bytes((folder / VERSION).read_bytes())
    except OSError as error:
        raise PackageError(f"The package holds no {VERSION}. Get it again from who made it.") from error


def examined(folder: Path, facts: VersionFacts, trust: Trust) -> Verdict | None:
    """Verdict on the publication of a package's version; None if there is none, and nobody asked for one.

    Raises PublicationError if the model is not what was published, or not trusted.
    """
    publication = Publication.of(folder / PUBLICATION)
    if publication == Publication() and not trust:
        return None
    wanted = (facts.model, facts.version) if facts.version else None
    verdict = verdict_of(folder / MODEL, publication, trust.verify_keys(), wanted)
    check(f"The package of {facts.title}", verdict.findings)
    return verdict


def check_programs(folder: Path) -> None:
    """Raise PackageError unless what a package runs is what this release writes: no signature covers that."""
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        own = {f"{ARTIFACTS}/{WHEEL}": write_wheel(Path(temporary)).read_bytes()}
    own |= {name: template.content(name) for name in (INTERFACE, SETUP)}
    for name, content in own.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            raise PackageError(
                f"{name} is not what this release of proto-model-turbo writes, and no signature covers "
                "it. Check the package with the release that made it, or without --require-published and "
                "--verify-key."
            )
    lines = (folder / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    allowed = {f"./{ARTIFACTS}/{WHEEL}", ""}
    for line in lines:
        pin = _PIN.fullmatch(line)
        if line not in allowed and not line.startswith("#") and (pin is None or pin["name"] not in needed()):
            raise PackageError(f"{REQUIREMENTS} asks for {line!r}, which no package needs.")
