"""Keyless signatures of Sigstore: a certificate for minutes, made for a login, and a log that tells the time.

What is verified, without a network: an authority of the team vouches for the certificate, and for the
identity and the issuer that the team expects; the log of the team promised to hold exactly this signature;
and that was while the certificate was valid. Not verified is that the log kept its promise (its inclusion
proof), nor that the certificate stands in a log of certificates (its SCT). Signatures with a log that tells
no time (Rekor 2, which leaves that to RFC 3161) are refused. https://docs.sigstore.dev/about/bundle/
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proto_model.registry.publishing.findings import PublicationError
from proto_model.registry.publishing.manifest import read_json, sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

_ISSUER, _ISSUER_AS_TEXT, _USER_NAME = (f"1.3.6.1.4.1.57264.1.{n}" for n in (8, 1, 7))
_UTF8_STRING = 0x0C
_ENTRY = ("dsse", "0.0.1")


@dataclass(frozen=True)
class Login:
    """Who has to have signed: an identity, as its issuer knows it; and the log that tells when."""

    identity: str
    issuer: str
    log: EllipticCurvePublicKey

    def check(self, certificate: Certificate) -> None:
        """Raise PublicationError unless a certificate was made for this login."""
        found = _identity(certificate), _issuer(certificate)
        if found != (self.identity, self.issuer):
            raise PublicationError(
                f"The signature is that of {found[0] or 'nobody'!r}, known to {found[1] or 'nobody'!r}; "
                f"{self.identity!r}, known to {self.issuer!r}, is expected."
            )


def is_of_a_login(certificate: Certificate) -> bool:
    """Whether a certificate was made for somebody who logged in somewhere, and not for a key that is kept."""
    return bool(_issuer(certificate))


def signed_at(
    material: Mapping[str, Any], login: Login, certificate: Certificate, payload: bytes, signature: bytes
) -> datetime.datetime:
    """When the log took note of a signature; PublicationError unless it vouches for that."""
    entries = material.get("tlogEntries") or []
    if len(entries) != 1 or "inclusionPromise" not in entries[0] or not int(entries[0]["integratedTime"]):
        raise PublicationError(
            "The signature is keyless, and no log tells when it was made. Take a log that does (Rekor 1)."
        )
    (entry,) = entries
    body = base64.b64decode(entry["canonicalizedBody"], validate=True)
    time = int(entry["integratedTime"])
    log_id = base64.b64decode(entry["logId"]["keyId"], validate=True)
    promise = base64.b64decode(entry["inclusionPromise"]["signedEntryTimestamp"], validate=True)
    # RFC 8785 of these four, whose texts are plain ASCII.
    promised = {
        "body": base64.b64encode(body).decode(),
        "integratedTime": time,
        "logID": log_id.hex(),
        "logIndex": int(entry["logIndex"]),
    }
    content = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
    if log_id != _log_id(login.log) or not _holds(login.log, promise, content):
        raise PublicationError(
            "The signature is keyless, and the log's promise is not that of the log's key."
        )
    _check_body(body, certificate, payload, signature)
    try:
        return datetime.datetime.fromtimestamp(time, datetime.UTC)
    except (OverflowError, OSError) as error:
        raise PublicationError("The log of the signature tells no time that there is.") from error


def _check_body(body: bytes, certificate: Certificate, payload: bytes, signature: bytes) -> None:
    """Raise PublicationError unless an entry of the log is about this signature of this statement."""
    from cryptography.hazmat.primitives.serialization import Encoding

    read = read_json(body, "The log's entry")
    if (read["kind"], read["apiVersion"]) != _ENTRY:
        raise PublicationError(f"The log's entry is of the kind {read['kind']!r}, {_ENTRY[0]!r} expected.")
    spec = read["spec"]
    pem = certificate.public_bytes(Encoding.PEM)
    told = [
        (one["signature"], base64.b64decode(one["verifier"], validate=True)) for one in spec["signatures"]
    ]
    hashed = spec["payloadHash"]
    if (hashed["algorithm"], hashed["value"]) != ("sha256", sha256(payload)) or told != [
        (base64.b64encode(signature).decode(), pem)
    ]:
        raise PublicationError("The log's entry is about another signature.")


def _identity(certificate: Certificate) -> str:
    """The one name that a certificate is for; empty if there is none, or several."""
    from cryptography import x509

    try:
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, x509.UnsupportedGeneralNameType, ValueError):
        return ""
    if len(names) != 1:
        return ""
    (name,) = names
    if isinstance(name, x509.RFC822Name | x509.UniformResourceIdentifier):
        return name.value
    if isinstance(name, x509.OtherName) and name.type_id.dotted_string == _USER_NAME:
        return _utf8(name.value)
    return ""


def _issuer(certificate: Certificate) -> str:
    """Who knows the identity of a certificate; empty if that does not stand in it."""
    from cryptography import x509

    found = {
        one.oid.dotted_string: one.value.value
        for one in certificate.extensions
        if isinstance(one.value, x509.UnrecognizedExtension)
    }
    if _ISSUER in found:
        return _utf8(found[_ISSUER])
    return found.get(_ISSUER_AS_TEXT, b"").decode("utf-8", errors="replace")


def _utf8(value: bytes) -> str:
    """Text of a UTF8String in DER, whose length takes one byte or up to two more."""
    if len(value) < 2 or value[0] != _UTF8_STRING:
        return ""
    n_length = value[1] & 0x7F if value[1] & 0x80 else 0
    start = 2 + n_length
    length = int.from_bytes(value[2:start], "big") if n_length else value[1]
    text = value[start:]
    return text.decode("utf-8", errors="replace") if n_length <= 2 and len(text) == length else ""


def _log_id(log: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(log.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _holds(log: EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        log.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
