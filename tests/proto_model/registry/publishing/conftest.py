"""Keys, and a folder of a version with what is kept of its publication."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from proto_model.registry.publishing import (
    Manifest,
    Publication,
    make_keys,
    read_signing_key,
    read_verify_key,
)
from proto_model.registry.publishing.files import contents
from proto_model.registry.publishing.keys import SigningKey, VerifyKey
from proto_model.registry.publishing.signature import envelope, sign

FILES = {
    "MLmodel": b"flavors: {}\n",
    "artifacts/bundle/forest.npz": bytes(range(256)) * 40,
    "artifacts/bundle/decision.json": b"{}",
    "code/a.py": b"a = 1\n",
    "code.txt": b"",
}


@dataclass(frozen=True)
class Pair:
    """Two files of keys, and what they hold."""

    private_path: Path
    public_path: Path
    private: SigningKey
    public: VerifyKey


def pair_in(folder: Path) -> Pair:
    private, public = make_keys(folder)
    return Pair(private, public, read_signing_key(private), read_verify_key(public.read_text()))


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair_in(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair_in(tmp_path_factory.mktemp("other-keys"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a version, as MLflow downloads it."""
    folder = tmp_path / "version"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def manifest_of(folder: Path, version: str = "3", at: str = "2026-11-22T08:00:00+00:00") -> Manifest:
    return Manifest("churn", version, at, "ann", contents(folder)[0], {"tags": {"a": "b"}})


def published(folder: Path, key: SigningKey, **about: str) -> Publication:
    """What is kept when a folder is published as version 3 of churn."""
    manifest = manifest_of(folder, **about)
    return Publication(manifest.to_bytes(), sign(manifest, manifest.to_bytes(), key))


@pytest.fixture
def forged(folder: Path, pair: Pair) -> Callable[[Callable[[dict], None]], Publication]:
    """Function that signs, with the right key, a statement which was changed before."""

    def forge(change: Callable[[dict], None]) -> Publication:
        publication = published(folder, pair.private)
        statement = statement_of(publication.signature)
        change(statement)
        return Publication(publication.manifest, envelope(statement, pair.private))

    return forge


def statement_of(bundle: bytes) -> dict:
    import base64

    return json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
