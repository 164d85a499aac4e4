"""Keys to sign with and to verify with: PEM files of elliptic curves, and certificates.

They are read with `cryptography`, which MLflow brings along and which the lean server never loads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proto_model.errors import CallerError
from proto_model.registry.publishing.findings import PublicationError
from proto_model.registry.publishing.keyless import Login

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
        EllipticCurveSignatureAlgorithm,
    )
    from cryptography.x509 import Certificate

__all__ = ["SigningKey", "VerifyKey", "make_keys", "read_key_text", "read_signing_key", "read_verify_key"]

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 1024 * 1024
PRIVATE, PUBLIC = "signing-key.pem", "verify-key.pem"
_CERTIFICATE, _PUBLIC_KEY = b"-----BEGIN CERTIFICATE-----", b"-----BEGIN PUBLIC KEY-----"
_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
# Lines before the certificates, which PEM leaves to people.
_LOGIN = re.compile(r"^(identity|issuer):[ \t]*(\S+)[ \t]*\r?$", re.MULTILINE)
_CURVES = "P-256, P-384 or P-521"


class KeyFileError(PublicationError, CallerError):
    """A file of a key or of certificates that was named cannot be used."""


@dataclass(frozen=True)
class SigningKey:
    """A private key and, in a team that has an authority, the chain of its certificate, its own first."""

    private: EllipticCurvePrivateKey
    chain: tuple[Certificate, ...] = ()

    def sign(self, content: bytes) -> bytes:
        """Signature of some bytes."""
        return self.private.sign(content, _algorithm(self.private.curve.name))

    @property
    def fingerprint(self) -> str:
        """What signatures call its public key."""
        return _fingerprint(self.private.public_key())


@dataclass(frozen=True)
class VerifyKey:
    """A public key, or the certificates of authorities, one of which vouches for a key.

    With a login, they vouch for whoever logs in, and this one has to have signed.
    """

    public: EllipticCurvePublicKey | None = None
    authorities: tuple[Certificate, ...] = ()
    login: Login | None = None

    @property
    def fingerprint(self) -> str:
        """What signatures call it; empty for authorities."""
        return "" if self.public is None else _fingerprint(self.public)


def holds(public: EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    """Whether a signature of some bytes is this key's."""
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, content, _algorithm(public.curve.name))
    except InvalidSignature:
        return False
    return True


def read_signing_key(
    path: Path, password: Callable[[], str] | None = None, certificates: Path | None = None
) -> SigningKey:
    """Private key of a PEM file that only its owner may read and write.

    `password` is asked for one that is encrypted. `certificates` is a PEM file with the
    key's certificate, and those between it and the authority's. Raises PublicationError.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, "signing key", is_secret=True)
    given = None
    if b"ENCRYPTED" in content:
        text = password() if password is not None else ""
        if not text:
            raise KeyFileError(f"The signing key {path} is encrypted. Give its password.")
        given = text.encode()
    try:
        private = load_pem_private_key(content, given)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"The signing key {path} cannot be read: {_first(error)}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name not in _HASHES:
        raise KeyFileError(f"The signing key {path} is of another kind; {_CURVES} expected.")
    chain = (
        () if certificates is None else _certificates(_read(certificates, "certificate"), str(certificates))
    )
    if chain and chain[0].public_key() != private.public_key():
        raise KeyFileError(f"The first certificate of {certificates} is not that of {path}.")
    return SigningKey(private, tuple(chain))


def read_key_text(path: Path) -> str:
    """Text of a PEM file to verify with, which nobody but its owner may write."""
    return _read(path, "key").decode("ascii", errors="replace")


def read_verify_key(text: str, where: str = "the key") -> VerifyKey:
    """Public key, or certificates of authorities, of a PEM text; raises PublicationError."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise PublicationError(
            "Signatures are verified with cryptography, which is not installed. Install it, or MLflow, which "
            "brings it along."
        ) from error
    content = text.encode()

    def public_key() -> EllipticCurvePublicKey:
        try:
            public = load_pem_public_key(content[max(0, content.find(_PUBLIC_KEY)) :])
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"There is no public key in {where}: {_first(error)}") from error
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in _HASHES:
            raise KeyFileError(f"The public key in {where} is of another kind; {_CURVES} expected.")
        return public

    if _CERTIFICATE not in content:
        return VerifyKey(public_key())
    authorities = tuple(_certificates(content, where))
    told = dict(_LOGIN.findall(text))
    if not told:
        return VerifyKey(authorities=authorities)
    if len(told) < len(_LOGIN.findall(text)) or told.keys() != {"identity", "issuer"}:
        raise KeyFileError(f"A login takes one identity and one issuer; {where} has others.")
    return VerifyKey(authorities=authorities, login=Login(told["identity"], told["issuer"], public_key()))


def make_keys(folder: Path, password: str = "") -> tuple[Path, Path]:
    """New pair of keys on P-256 as two files of a folder: one to sign with, one to verify with.

    The first one is encrypted if there is a password. Raises PublicationError if a file is there already.
    """
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    encryption: pem.KeySerializationEncryption = pem.NoEncryption()
    if password:
        encryption = pem.BestAvailableEncryption(password.encode())
    contents = {
        PRIVATE: private.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, encryption),
        PUBLIC: _pem(private.public_key()),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"{folder} cannot be a folder of keys: {error.strerror}.") from error
    paths = {name: folder / name for name in contents}
    for path in paths.values():
        if path.exists():
            raise KeyFileError(f"{path} is there already. Give another folder, or move it away.")
    for name, path in paths.items():
        mode = 0o600 if name == PRIVATE else 0o644
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(contents[name])
    return paths[PRIVATE], paths[PUBLIC]


def _read(path: Path, what: str, *, is_secret: bool = False) -> bytes:
    """Content of a file, whose rights are looked at first."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for who writes it
            raise KeyFileError(f"The {what} {path} is not a regular file.")
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise KeyFileError(f"The {what} {path} has more than {MAX_FILE_BYTES} bytes.")
    if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyFileError(f"Other users can write the {what} {path}. Prevent that: chmod go-w {path}.")
    if os.name == "posix" and is_secret and mode & stat.S_IROTH:
        raise KeyFileError(f"Everybody may read the {what} {path}. Take that right away: chmod o-r {path}.")
    return content


def _certificates(content: bytes, where: str) -> Sequence[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise KeyFileError(f"The certificates of {where} cannot be read: {_first(error)}") from error


def _algorithm(curve: str) -> EllipticCurveSignatureAlgorithm:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(getattr(hashes, _HASHES[curve])())


def _pem(public: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization as pem

    return public.public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)


def _fingerprint(public: EllipticCurvePublicKey) -> str:
    """What model-signing puts into the hint of a bundle."""
    return hashlib.sha256(_pem(public)).hexdigest()


def _first(error: Exception) -> str:
    """The first sentence of an error, of which OpenSSL's have many."""
    return f"{str(error).split('. ')[0].rstrip('.')}."
