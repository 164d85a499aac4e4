"""Whether a folder holds what was published: its files against the manifest, and both against the signature.

This needs no network and no MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proto_model.registry.publishing.files import REGISTERED, contents
from proto_model.registry.publishing.findings import Finding, PublicationError
from proto_model.registry.publishing.keys import VerifyKey
from proto_model.registry.publishing.manifest import Manifest, read_part, sha256
from proto_model.registry.publishing.signature import Signed, verified

MANIFEST, SIGNATURE = "manifest.json", "signature.sigstore.json"


@dataclass(frozen=True)
class Publication:
    """What is kept of a published version outside of its folder; no signature if nobody signed it.

    Other tools sign without a manifest.
    """

    manifest: bytes | None = None
    signature: bytes | None = None

    @classmethod
    def beside(cls, folder: Path) -> Publication:
        """That of a folder which lies beside `<folder>.publication`; empty if there is none."""
        place = folder.resolve()
        return cls.of(place.with_name(f"{place.name}.publication"))

    @classmethod
    def of(cls, folder: Path) -> Publication:
        """That of a folder with the two files."""
        parts = [folder / name for name in (MANIFEST, SIGNATURE)]
        return cls(*(read_part(path) if path.is_file() else None for path in parts))


@dataclass(frozen=True)
class Verdict:
    """What is known of a version, and all that is wrong with it; `signer` is empty if nobody was verified."""

    model: str = ""
    version: str = ""
    published_at: str = ""
    published_by: str = ""
    signer: str = ""
    n_files: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def with_findings(self, findings: Sequence[Finding]) -> Verdict:
        """The same with more that is wrong."""
        return replace(self, findings=(*self.findings, *findings))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "verified": self.is_good,
            "model": self.model or None,
            "version": self.version or None,
            "published_at": self.published_at or None,
            "published_by": self.published_by or None,
            "signer": self.signer or None,
            "files": self.n_files,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def verdict_of(
    folder: Path,
    publication: Publication,
    keys: Sequence[VerifyKey] = (),
    wanted: tuple[str, str] | None = None,
) -> Verdict:
    """Verdict on a folder; with keys, one of them has to have signed it.

    `wanted` are the name and the number of the version that it has to be.
    """
    findings: list[Finding] = []
    manifest = _manifest(publication, findings)
    signed = _signed(publication, keys, findings)
    if signed is not None and publication.manifest is not None:
        if signed.manifest_sha256 != sha256(publication.manifest):
            findings.append(Finding("manifest", "", "The manifest is not the one that was signed."))
        elif manifest is not None and signed.files != _digests(manifest):
            findings.append(Finding("manifest", "", "The manifest lists other files than the signature."))
    for what, of in (("manifest", manifest), ("signature", signed)):
        if of is not None and wanted not in (None, (of.model, of.version)):
            found = f"version {of.version} of {of.model!r}" if of.version else "a folder, not of a version"
            findings.append(
                Finding("signature" if of is signed else "manifest", "", f"The {what} is that of {found}.")
            )
    files = signed.files if signed is not None else _digests(manifest) if manifest is not None else None
    number = next((of.version for of in (manifest, signed) if of is not None and of.version), "")
    if files is not None:
        findings += _differences(folder, files, number)
    known = manifest or Manifest(*(wanted or ("", "")), "", "", {})
    return Verdict(
        model=known.model,
        version=known.version,
        published_at=known.published_at,
        published_by=known.published_by,
        signer="" if signed is None else signed.signer,
        n_files=len(files or ()),
        findings=tuple(findings),
    )


def _manifest(publication: Publication, findings: list[Finding]) -> Manifest | None:
    if publication.manifest is None:
        if publication.signature is None:
            text = "It is not published: there is neither a manifest nor a signature."
            findings.append(Finding("unpublished", "", text))
        return None
    try:
        return Manifest.of_bytes(publication.manifest)
    except PublicationError as error:
        findings.append(Finding("manifest", "", str(error)))
        return None


def _signed(publication: Publication, keys: Sequence[VerifyKey], findings: list[Finding]) -> Signed | None:
    if not keys:
        if publication.manifest is None and publication.signature is not None:
            findings.append(Finding("signature", "", "Give the key that verifies the signature."))
        return None
    if publication.signature is None:
        if publication.manifest is not None:
            findings.append(Finding("signature", "", "It is published, but not signed."))
        return None
    try:
        return verified(publication.signature, keys)
    except PublicationError as error:
        findings.append(Finding("signature", "", str(error)))
        return None


def _digests(manifest: Manifest) -> dict[str, str]:
    return {name: content.sha256 for name, content in manifest.files.items()}


def _differences(folder: Path, files: Mapping[str, str], number: str) -> list[Finding]:
    """How a folder differs from what was published."""
    found, findings = contents(folder)
    if REGISTERED in found and REGISTERED not in files:  # MLflow's own, of each download
        del found[REGISTERED]
        if not number or _numbers(folder / REGISTERED) != [number]:
            text = f"{REGISTERED!r} does not name version {number or 'that was signed'}."
            findings.append(Finding("changed", REGISTERED, text))
    unsafe = {finding.name for finding in findings}
    for name in sorted(files.keys() - found.keys() - unsafe):
        findings.append(Finding("removed", name, f"{name!r} is missing."))
    for name in sorted(found.keys() - files.keys()):
        findings.append(Finding("added", name, f"{name!r} was added."))
    for name in sorted(found.keys() & files.keys()):
        if found[name].sha256 != files[name]:
            findings.append(Finding("changed", name, f"{name!r} was changed."))
    return findings


def _numbers(path: Path) -> list[str]:
    """Numbers of versions that MLflow's file about a download names: one."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.partition(":") for line in lines if line.startswith("model_version")]
    return [value.strip().strip("'\"") for _, _, value in pairs]
