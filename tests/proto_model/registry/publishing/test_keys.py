"""Key files: who may read and write them, and which keys they may hold."""

import base64
import datetime
import json
import os
import subprocess
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from proto_model.registry.publishing import (
    PublicationError,
    Trust,
    make_keys,
    read_key_text,
    read_signing_key,
    read_verify_key,
)
from proto_model.registry.publishing.verdict import verdict_of
from tests.proto_model.registry.publishing.conftest import published

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def test_only_the_owner_may_read_a_new_signing_key(tmp_path):
    private, public = make_keys(tmp_path / "keys")

    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o022) == (0o600, 0)
    assert read_signing_key(private).fingerprint == read_verify_key(public.read_text()).fingerprint


def test_keys_are_never_replaced(tmp_path):
    make_keys(tmp_path)

    with pytest.raises(PublicationError, match=r"signing-key\.pem is there already"):
        make_keys(tmp_path)


def test_an_encrypted_key_needs_its_password(tmp_path):
    private, public = make_keys(tmp_path, "correct horse")

    assert (
        read_signing_key(private, lambda: "correct horse").fingerprint
        == read_verify_key(public.read_text()).fingerprint
    )
    with pytest.raises(PublicationError, match="Give its password"):
        read_signing_key(private)
    with pytest.raises(PublicationError, match="cannot be read") as caught:
        read_signing_key(private, lambda: "wrong")
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "advice"), [(0o620, "chmod go-w"), (0o602, "chmod go-w"), (0o604, "chmod o-r")]
)
def test_a_signing_key_that_others_may_use_is_refused(tmp_path, mode, advice):
    private, _ = make_keys(tmp_path)
    private.chmod(mode)

    with pytest.raises(PublicationError, match=advice):
        read_signing_key(private)


def test_a_verify_key_that_others_may_exchange_is_refused(tmp_path):
    _, public = make_keys(tmp_path)
    public.chmod(0o664)

    with pytest.raises(PublicationError, match="chmod go-w"):
        Trust.of(False, [public])


def test_a_pipe_in_place_of_a_key_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(PublicationError, match="not a regular file"):
        read_key_text(tmp_path / "pipe")


def test_keys_of_other_kinds_are_refused(tmp_path):
    for private in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        path = tmp_path / "key.pem"
        path.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
        with pytest.raises(PublicationError, match="P-256"):
            read_signing_key(path)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(PublicationError, match="P-256"):
            read_verify_key(public.decode())


@pytest.mark.parametrize(
    "text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_a_file_without_a_public_key_is_refused(tmp_path, text):
    (tmp_path / "key.pem").write_text(text)

    with pytest.raises(PublicationError, match="no public key"):
        Trust.of(False, [tmp_path / "key.pem"]).verify_keys()


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_keys_of_openssl_are_taken(tmp_path, folder, curve):
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for command in (
        ["ecparam", "-name", curve, "-genkey", "-noout", "-out", private],
        ["ec", "-in", private, "-pubout", "-out", public],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    private.chmod(0o600)

    publication = published(folder, read_signing_key(private))
    assert verdict_of(folder, publication, Trust.of(False, [public]).verify_keys()).is_good


def certificate(subject, issuer, public, signer, *, is_authority, can_sign=True):
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer)]
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    usage = x509.KeyUsage(can_sign, False, False, False, False, is_authority, is_authority, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOON)
        .not_valid_after(NOON + datetime.timedelta(days=30))  # over, when most read this
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(issuer_id, critical=False)
    )
    return builder.sign(signer, hashes.SHA256())


class Team:
    """An authority, and the certificate of a key that it vouches for."""

    def __init__(self, folder, private, **options):
        authority = ec.generate_private_key(ec.SECP256R1())
        root = certificate("Team", "Team", authority.public_key(), authority, is_authority=True)
        leaf = certificate("ann", "Team", private.public_key(), authority, is_authority=False, **options)
        self.authority, self.leaf = folder / "authority.pem", folder / "ann.pem"
        for path, one in ((self.authority, root), (self.leaf, leaf)):
            path.write_bytes(one.public_bytes(serialization.Encoding.PEM))


def test_an_authority_vouches_for_who_signs(tmp_path, folder, pair):
    team = Team(tmp_path, pair.private.private)
    key = read_signing_key(pair.private_path, certificates=team.leaf)
    publication = published(folder, key)

    verdict = verdict_of(folder, publication, Trust.of(False, [team.authority]).verify_keys())
    assert verdict.is_good
    assert verdict.signer == "CN=ann"
    assert not verdict_of(folder, publication, [pair.public]).is_good


def test_another_authority_does_not(tmp_path, folder, pair, other):
    team = Team(tmp_path, pair.private.private)
    publication = published(folder, read_signing_key(pair.private_path, certificates=team.leaf))
    (tmp_path / "other").mkdir()
    stranger = Team(tmp_path / "other", other.private.private)

    verdict = verdict_of(folder, publication, Trust.of(False, [stranger.authority]).verify_keys())
    assert "No authority vouches" in verdict.findings[0].detail


def test_a_certificate_that_is_not_for_signatures_is_refused(tmp_path, folder, pair):
    team = Team(tmp_path, pair.private.private, can_sign=False)
    publication = published(folder, read_signing_key(pair.private_path, certificates=team.leaf))

    verdict = verdict_of(folder, publication, Trust.of(False, [team.authority]).verify_keys())
    assert [finding.problem for finding in verdict.findings] == ["signature"]


def test_a_certificate_of_an_unknown_version_is_refused(tmp_path, folder, pair):
    team = Team(tmp_path, pair.private.private)
    publication = published(folder, read_signing_key(pair.private_path, certificates=team.leaf))
    bundle = json.loads(publication.signature)
    (one,) = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
    third = bytes([0xA0, 3, 2, 1, 2])
    raw = base64.b64decode(one["rawBytes"])
    assert third in raw
    one["rawBytes"] = base64.b64encode(raw.replace(third, bytes([0xA0, 3, 2, 1, 0x22]))).decode()

    changed = replace(publication, signature=json.dumps(bundle).encode())
    verdict = verdict_of(folder, changed, Trust.of(False, [team.authority]).verify_keys())

    assert [finding.problem for finding in verdict.findings] == ["signature"]


def test_somebody_elses_certificate_is_refused(tmp_path, pair, other):
    team = Team(tmp_path, other.private.private)

    with pytest.raises(PublicationError, match="is not that of"):
        read_signing_key(pair.private_path, certificates=team.leaf)
