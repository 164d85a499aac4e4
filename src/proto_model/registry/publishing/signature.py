"""Signatures of versions as OpenSSF Model Signing (OMS) 1.0 has them, so that other tools verify them, too.

A signature is a Sigstore bundle 0.3: a DSSE envelope around an in-toto statement, whose predicate lists the
files of the version. The predicate also has a part of our own, which others ignore: name and number of the
version, and the digest of its manifest.
https://github.com/sigstore/model-transparency and https://github.com/secure-systems-lab/dsse
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proto_model.file_names import names_fault
from proto_model.registry.publishing.files import REGISTERED, ordered
from proto_model.registry.publishing.findings import PublicationError
from proto_model.registry.publishing.keyless import is_of_a_login, signed_at
from proto_model.registry.publishing.keys import SigningKey, VerifyKey, holds
from proto_model.registry.publishing.manifest import Manifest, read_json, sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate
    from cryptography.x509.verification import ExtensionPolicy

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
OURS = "proto_model"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_CERTIFICATES = 10


@dataclass(frozen=True)
class Signed:
    """What a signature that holds says: files, and of which version, which only this project's do."""

    files: Mapping[str, str]
    signer: str
    model: str = ""
    version: str = ""
    manifest_sha256: str = ""


def sign(manifest: Manifest, content: bytes, key: SigningKey) -> bytes:
    """Bundle with the signature of a manifest, whose bytes are given, and of the files that it lists."""
    names = ordered(manifest.files)
    digests = [manifest.files[name].sha256 for name in names]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": manifest.model, "digest": {"sha256": _root(digests)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [REGISTERED],
            },
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest}
                for name, digest in zip(names, digests, strict=True)
            ],
            OURS: {
                "model": manifest.model,
                "version": manifest.version,
                "manifest_sha256": sha256(content),
            },
        },
    }
    return envelope(statement, key)


def envelope(statement: Mapping[str, Any], key: SigningKey) -> bytes:
    """Sigstore bundle around an in-toto statement."""
    payload = json.dumps(statement, ensure_ascii=False).encode()
    signature = {"sig": _base64(key.sign(_encoded(payload))), "keyid": ""}
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {**_material(key), "tlogEntries": []},
        "dsseEnvelope": {
            "payload": _base64(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [signature],
        },
    }
    return f"{json.dumps(bundle, indent=2)}\n".encode()


def verified(bundle: bytes, keys: Sequence[VerifyKey]) -> Signed:
    """What a bundle says of the files of a version; PublicationError unless one of the keys signed it."""
    statement, signer = opened(bundle, keys, PREDICATE_TYPE)
    try:
        return _signed(statement, signer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PublicationError("The signature is of no model: its statement is incomplete.") from error


def opened(bundle: bytes, keys: Sequence[VerifyKey], predicate_type: str) -> tuple[dict[str, Any], str]:
    """Statement of a bundle, and who signed it; PublicationError unless one of the keys did."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    damaged = (KeyError, TypeError, ValueError, AttributeError, UnsupportedAlgorithm)
    of_certificates = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
    read = read_json(bundle, "The signature")
    try:
        if read["mediaType"] != BUNDLE_TYPE:
            raise PublicationError(f"The signature is {read['mediaType']!r}, {BUNDLE_TYPE} expected.")
        found = read["dsseEnvelope"]
        if found["payloadType"] != PAYLOAD_TYPE or len(found["signatures"]) != 1:
            raise PublicationError("The signature is no envelope of one in-toto statement.")
        payload = base64.b64decode(found["payload"], validate=True)
        signature = base64.b64decode(found["signatures"][0]["sig"], validate=True)
        signer = _signer(read["verificationMaterial"], signature, payload, keys)
    except (*damaged, *of_certificates) as error:
        raise PublicationError("The signature is no Sigstore bundle of an in-toto statement.") from error
    statement = read_json(payload, "The signed statement")
    types = statement.get("_type"), statement.get("predicateType")
    if types != (STATEMENT_TYPE, predicate_type):
        raise PublicationError(f"The signed statement is {types[1]!r}, {predicate_type} expected.")
    return statement, signer


def _signed(statement: Mapping[str, Any], signer: str) -> Signed:
    (subject,) = statement["subject"]
    predicate = statement["predicate"]
    how, resources = predicate["serialization"], predicate["resources"]
    if (how["method"], how["hash_type"]) != ("files", "sha256"):
        raise PublicationError("The signature is not one of whole files by SHA-256. Sign it in that way.")
    names = [resource["name"] for resource in resources]
    fault = names_fault(names) or ("" if names else "It lists no files.")
    if fault:
        raise PublicationError(f"The signature is wrong: {fault}")
    digests = [resource["digest"] for resource in resources]
    if not all(resource["algorithm"] == "sha256" for resource in resources) or not all(
        _SHA256.fullmatch(digest) for digest in digests
    ):
        raise PublicationError("The signature is wrong: a file has no SHA-256.")
    if subject["digest"]["sha256"] != _root(digests):
        raise PublicationError("The signature is wrong: its list of files does not match its digest.")
    ours = predicate.get(OURS, {})
    of = (str(ours.get(key, "")) for key in ("model", "version", "manifest_sha256"))
    return Signed(dict(zip(names, digests, strict=True)), signer, *of)


def _signer(material: Mapping[str, Any], signature: bytes, payload: bytes, keys: Sequence[VerifyKey]) -> str:
    """Who made a signature: the fingerprint of a key, the subject of a certificate, or who logged in."""
    content = _encoded(payload)
    if "x509CertificateChain" in material or "certificate" in material:
        from cryptography import x509

        given = material.get("x509CertificateChain", {}).get("certificates") or [material["certificate"]]
        chain = [
            x509.load_der_x509_certificate(base64.b64decode(one["rawBytes"]))
            for one in given[:_MAX_CERTIFICATES]
        ]
        if is_of_a_login(chain[0]):
            public, name = _logged_in(chain, material, payload, signature, keys)
        else:
            # As in model-signing, the chain has to be valid at the beginning of the certificate's time: a
            # signature outlives it.
            authorities = [one for key in keys if key.login is None for one in key.authorities]
            public, name = _vouched(chain, authorities, chain[0].not_valid_before_utc)
        if holds(public, signature, content):
            return name
        raise PublicationError("The signature does not hold: it is not that of its certificate's key.")
    hint = material["publicKey"].get("hint") or ""
    for key in keys:
        if key.public is not None and hint in ("", key.fingerprint) and holds(key.public, signature, content):
            return key.fingerprint
    if any(hint == key.fingerprint for key in keys):
        raise PublicationError("The signature does not hold: the statement was changed after it was signed.")
    raise PublicationError(f"The signature was made with another key ({hint[:16] or 'unnamed'}).")


def _logged_in(
    chain: Sequence[Certificate],
    material: Mapping[str, Any],
    payload: bytes,
    signature: bytes,
    keys: Sequence[VerifyKey],
) -> tuple[EllipticCurvePublicKey, str]:
    """Key and identity of a keyless signature that one of the logins made."""
    logins = [(key.login, key.authorities) for key in keys if key.login is not None]
    if not logins:
        raise PublicationError(
            "The signature is keyless: its authority gives a certificate to whoever logs in. Say who has to "
            "have signed: put identity, issuer and the log's key into the authority's file."
        )
    errors = []
    for login, authorities in logins:
        try:
            login.check(chain[0])
            at = signed_at(material, login, chain[0], payload, signature)
            public, _ = _vouched(chain, authorities, at)
        except PublicationError as error:
            errors.append(error)
        else:
            return public, login.identity
    raise errors[0]


def _vouched(
    chain: Sequence[Certificate], authorities: Sequence[Certificate], at: datetime.datetime
) -> tuple[EllipticCurvePublicKey, str]:
    """Key and subject of a certificate that may sign, and that an authority vouched for at a time."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import verification

    if not authorities:
        raise PublicationError(
            "The signature was made with a certificate. Verify it with that of its authority, as a PEM file."
        )
    leaf, *others = chain
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(list(authorities)))
        .time(at)
        .extension_policies(
            ee_policy=verification.ExtensionPolicy.permit_all(),
            ca_policy=_authority_policy(),
        )
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, others)
    except verification.VerificationError as error:
        raise PublicationError(
            f"No authority vouches for the certificate of the signature: {error}"
        ) from error
    public = leaf.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not _may_sign(leaf):
        raise PublicationError("The certificate of the signature is not one to sign with.")
    return public, leaf.subject.rfc4514_string()


def _authority_policy() -> ExtensionPolicy:
    """What certificates of authorities have to say; those between may be for signatures of code alone."""
    from cryptography import x509
    from cryptography.x509 import verification

    return verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(
        x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, None
    )


def _may_sign(certificate: Certificate) -> bool:
    """Whether a certificate is meant for signatures."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    found = {type(one.value): one.value for one in certificate.extensions}
    usage, purposes = found.get(x509.KeyUsage), found.get(x509.ExtendedKeyUsage)
    if isinstance(usage, x509.KeyUsage) and usage.digital_signature:
        return True
    return isinstance(purposes, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CODE_SIGNING in purposes


def _material(key: SigningKey) -> dict[str, Any]:
    """What a verifier is to know of the key."""
    if not key.chain:
        return {"publicKey": {"hint": key.fingerprint}}
    from cryptography.hazmat.primitives.serialization import Encoding

    certificates = [{"rawBytes": _base64(one.public_bytes(Encoding.DER))} for one in key.chain]
    return {"x509CertificateChain": {"certificates": certificates}}


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _root(digests: Sequence[str]) -> str:
    """Digest over those of all files, in their order."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
