"""Keyless signatures, made with an authority and a log of the tests: who signed, and when, is verified."""

import base64
import datetime
import hashlib
import json
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proto_model.registry.publishing import Publication, PublicationError, Trust, read_verify_key
from proto_model.registry.publishing.keyless import is_of_a_login
from proto_model.registry.publishing.keys import SigningKey
from proto_model.registry.publishing.verdict import verdict_of
from tests.proto_model.registry.publishing.conftest import published

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
IDENTITY, ISSUER = "release@example.com", "https://accounts.example.com"
PEM = serialization.Encoding.PEM


def key():
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(private):
    return private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def certificate(subject, issuer, public, signer, days, extensions):
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) if one else x509.Name([])
        for one in (subject, issuer)
    ]
    builder = (
        x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(public)
        .serial_number(x509.random_serial_number()).not_valid_before(NOON)
        .not_valid_after(NOON + (datetime.timedelta(days) if days else 10 * MINUTE))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )  # fmt: skip
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(signer, hashes.SHA256())


def usage(is_authority):
    return x509.KeyUsage(
        not is_authority, False, False, False, False, is_authority, is_authority, False, False
    ), True


def issuer_extension(text):
    content = text.encode()
    return x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), bytes([0x0C, len(content)]) + content
    )


class Sigstore:
    """An authority with a certificate between, as Fulcio has it, and a log."""

    def __init__(self, is_direct=False):
        self.root, self.middle, self.log = key(), key(), key()
        self.signs, self.issues = ("root", self.root) if is_direct else ("middle", self.middle)
        authority = [(x509.BasicConstraints(True, None), True), usage(True)]
        signing = [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)]
        self.root_certificate = certificate("root", "root", self.root.public_key(), self.root, 30, authority)
        self.middle_certificate = certificate(
            "middle", "root", self.middle.public_key(), self.root, 30, authority + signing
        )

    def leaf(self, private, names=(IDENTITY,), issuer=ISSUER):
        extensions = [usage(False), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)]
        extensions.append((x509.SubjectAlternativeName([x509.RFC822Name(one) for one in names]), True))
        extensions += [(issuer_extension(issuer), False)] if issuer else []
        return certificate("", self.signs, private.public_key(), self.issues, 0, extensions)

    def signed(self, folder, at=NOON + MINUTE, log=None, **about):
        """Publication of a folder, signed by somebody who has logged in."""
        private = key()
        leaf = self.leaf(private, **about)
        publication = published(folder, SigningKey(private, (leaf, self.middle_certificate)))
        bundle = json.loads(publication.signature)
        bundle["verificationMaterial"]["tlogEntries"] = [self.entry(bundle, leaf, at, log or self.log)]
        return Publication(publication.manifest, json.dumps(bundle).encode())

    def entry(self, bundle, leaf, at, log):
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        body = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [
                    {
                        "signature": envelope["signatures"][0]["sig"],
                        "verifier": base64.b64encode(leaf.public_bytes(PEM)).decode(),
                    }
                ],
            },
        }
        text = base64.b64encode(json.dumps(body).encode()).decode()
        der = log.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        log_id = hashlib.sha256(der).digest()
        promised = {"body": text, "integratedTime": int(at.timestamp()), "logID": log_id.hex(), "logIndex": 7}
        content = json.dumps(promised, separators=(",", ":"), sort_keys=True).encode()
        promise = log.sign(content, ec.ECDSA(hashes.SHA256()))
        return {
            "logIndex": "7",
            "logId": {"keyId": base64.b64encode(log_id).decode()},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(int(at.timestamp())),
            "inclusionPromise": {"signedEntryTimestamp": base64.b64encode(promise).decode()},
            "canonicalizedBody": text,
        }

    def key_file(self, identity=IDENTITY, issuer=ISSUER):
        login = f"identity: {identity}\nissuer: {issuer}\n"
        return login + self.root_certificate.public_bytes(PEM).decode() + public_pem(self.log)


@pytest.fixture(scope="module")
def sigstore():
    return Sigstore()


def said(folder, publication, text):
    """What is wrong with the signature; empty if nothing is."""
    verdict = verdict_of(folder, publication, [read_verify_key(text)])
    return " ".join(finding.detail for finding in verdict.findings)


def test_whoever_logged_in_and_signed_in_time_is_trusted(folder, sigstore, tmp_path):
    path = tmp_path / "team.pem"
    path.write_text(sigstore.key_file())
    keys = Trust.of(False, [path]).verify_keys()  # as servers are given it

    verdict = verdict_of(folder, sigstore.signed(folder), keys)
    assert verdict.is_good, verdict
    assert verdict.signer == IDENTITY


def test_sigstores_own_form_has_the_certificate_alone(folder, sigstore):
    publication = sigstore.signed(folder)
    bundle = json.loads(publication.signature)
    material = bundle["verificationMaterial"]
    material["certificate"] = material.pop("x509CertificateChain")["certificates"][0]
    alone = Publication(publication.manifest, json.dumps(bundle).encode())

    chain = sigstore.middle_certificate.public_bytes(PEM).decode()
    assert said(folder, alone, sigstore.key_file() + chain) == ""
    assert "No authority vouches" in said(folder, alone, sigstore.key_file())


def test_an_authority_alone_does_not_say_who_has_to_have_signed(folder, sigstore):
    for one in (sigstore, Sigstore(is_direct=True)):
        authority = one.root_certificate.public_bytes(PEM).decode()
        for name in (IDENTITY, "eve@example.com"):
            publication = one.signed(folder, names=[name])
            assert "put identity, issuer and the log's key" in said(folder, publication, authority)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"names": ["eve@example.com"]}, "that of 'eve@example.com'"),
        ({"names": ["RELEASE@example.com"]}, "that of 'RELEASE@example.com'"),
        ({"names": [IDENTITY, "eve@example.com"]}, "that of 'nobody'"),
        (
            {"issuer": "https://accounts.example.com.eve.example"},
            "known to 'https://accounts.example.com.eve",
        ),
        ({"issuer": ""}, "Verify it with that of its authority"),
        ({"at": NOON - MINUTE}, "No authority vouches"),
        ({"at": NOON + 11 * MINUTE}, "No authority vouches"),
        ({"log": key()}, "not that of the log's key"),
    ],
)
def test_another_login_another_time_and_another_log_are_refused(folder, sigstore, about, message):
    assert message in said(folder, sigstore.signed(folder, **about), sigstore.key_file())


def test_the_certificate_of_another_authority_is_refused(folder, sigstore):
    other = Sigstore()
    other.log = sigstore.log

    assert "No authority vouches" in said(folder, other.signed(folder), sigstore.key_file())


def changed(publication, change):
    bundle = json.loads(publication.signature)
    change(bundle["verificationMaterial"]["tlogEntries"])
    return Publication(publication.manifest, json.dumps(bundle).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries.clear(), "no log tells when"),
        (lambda entries: entries.append(entries[0]), "no log tells when"),
        (lambda entries: entries[0].pop("inclusionPromise"), "no log tells when"),
        (lambda entries: entries[0].update(integratedTime="0"), "no log tells when"),
        (lambda entries: entries[0].update(integratedTime=str(int(NOON.timestamp()))), "log's promise"),
        (lambda entries: entries[0].update(logIndex="8"), "log's promise"),
        (lambda entries: entries[0].update(canonicalizedBody="e30="), "log's promise"),
        (lambda entries: entries[0].update(integratedTime="soon"), "is no Sigstore bundle"),
        (lambda entries: entries[0]["logId"].clear(), "is no Sigstore bundle"),
    ],
)
def test_what_the_log_did_not_promise_is_refused(folder, sigstore, change, message):
    assert message in said(folder, changed(sigstore.signed(folder), change), sigstore.key_file())


def test_an_entry_about_another_signature_is_refused(folder, sigstore):
    first, second = (json.loads(sigstore.signed(folder).signature) for _ in range(2))
    first["verificationMaterial"]["tlogEntries"] = second["verificationMaterial"]["tlogEntries"]
    publication = Publication(sigstore.signed(folder).manifest, json.dumps(first).encode())

    assert "about another signature" in said(folder, publication, sigstore.key_file())


def test_a_key_file_with_half_a_login_is_refused(sigstore):
    text = sigstore.key_file()
    without_issuer = re.sub("issuer: .*\n", "", text)
    twice = f"identity: eve@example.com\n{text}"
    for wrong in (without_issuer, twice):
        with pytest.raises(PublicationError, match="takes one identity and one issuer"):
            read_verify_key(wrong)
    with pytest.raises(PublicationError, match="no public key"):
        read_verify_key(text.replace(public_pem(sigstore.log), ""))


def test_an_identity_may_be_that_of_a_workflow(folder, sigstore, monkeypatch):
    workflow = "https://git.example.com/team/models/.github/workflows/release.yml@refs/heads/main"
    monkeypatch.setattr(x509, "RFC822Name", x509.UniformResourceIdentifier)

    publication = sigstore.signed(folder, names=[workflow])
    monkeypatch.undo()
    assert said(folder, publication, sigstore.key_file(identity=workflow)) == ""


def test_a_user_name_is_an_identity_too(folder, sigstore, monkeypatch):
    def other_name(text):
        content = text.encode()
        return x509.OtherName(
            x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), bytes([0x0C, len(content)]) + content
        )

    monkeypatch.setattr(x509, "RFC822Name", other_name)
    publication = sigstore.signed(folder, names=["ann!team.example"])
    monkeypatch.undo()
    assert said(folder, publication, sigstore.key_file(identity="ann!team.example")) == ""
    assert "that of 'ann!team.example'" in said(folder, publication, sigstore.key_file())


def test_a_damaged_certificate_is_refused_with_a_sentence(folder, sigstore):
    bundle = json.loads(sigstore.signed(folder).signature)
    given = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"][0]
    whole = base64.b64decode(given["rawBytes"])
    keys = [read_verify_key(sigstore.key_file())]
    for place in range(0, len(whole), 5):
        broken = whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :]
        given["rawBytes"] = base64.b64encode(broken).decode()
        verdict = verdict_of(folder, Publication(None, json.dumps(bundle).encode()), keys)
        assert verdict.findings[0].problem == "signature", place


def test_certificates_of_kept_keys_are_no_logins(sigstore):
    assert not is_of_a_login(sigstore.root_certificate)
    assert is_of_a_login(sigstore.leaf(key()))
