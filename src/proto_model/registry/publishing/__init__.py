"""Publishing versions: a published one stays what it is, and whoever uses it can verify that.

Importing this loads neither MLflow nor cryptography.
"""

from proto_model.registry.publishing.findings import Finding, PublicationError
from proto_model.registry.publishing.keys import (
    SigningKey,
    VerifyKey,
    make_keys,
    read_key_text,
    read_signing_key,
    read_verify_key,
)
from proto_model.registry.publishing.manifest import Manifest
from proto_model.registry.publishing.publish import publish, signing_key
from proto_model.registry.publishing.tags import check_not_published, is_published
from proto_model.registry.publishing.trust import Trust
from proto_model.registry.publishing.verdict import Publication, Verdict
from proto_model.registry.publishing.verify import trusted, trusted_apart, verify

__all__ = [
    "Finding",
    "Manifest",
    "Publication",
    "PublicationError",
    "SigningKey",
    "Trust",
    "Verdict",
    "VerifyKey",
    "check_not_published",
    "is_published",
    "make_keys",
    "publish",
    "read_key_text",
    "read_signing_key",
    "read_verify_key",
    "signing_key",
    "trusted",
    "trusted_apart",
    "verify",
]
