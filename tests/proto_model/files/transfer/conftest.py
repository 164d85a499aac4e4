"""A real store, and a proxy before it that breaks things."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from proto_model.files.transfer import FileSettings
from scripts.object_store import ObjectStore
from tests.fault_proxy import FaultProxy


@pytest.fixture
def proxy(rclone: ObjectStore) -> Iterator[FaultProxy]:
    """The way to the store that `store` signs for."""
    with FaultProxy(rclone.port) as proxy:
        yield proxy


@pytest.fixture
def store(rclone: ObjectStore, proxy: FaultProxy) -> ObjectStore:
    """The store as seen through the proxy."""
    return dataclasses.replace(rclone, port=proxy.port)


@pytest.fixture
def settings(store: ObjectStore) -> FileSettings:
    """Settings that allow the store and lose no time."""
    allowed = FileSettings.from_environment(store.settings)
    return dataclasses.replace(allowed, backoff_s=0.001, max_backoff_s=0.01, read_timeout_s=0.5)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate for store.example, signed by itself, and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store.example")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("store.example")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    pem, secret = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, secret
