"""MD5 digests that a store names in an answer."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re

from proto_model.files.transfer.url import SignatureKind

_MD5_ETAG = re.compile(r'"?([0-9a-fA-F]{32})"?')
_GOOG_MD5 = re.compile(r"md5=([A-Za-z0-9+/=]+)")


def digests(response: http.client.HTTPResponse, kind: SignatureKind) -> list[bytes]:
    """MD5 digests of the whole object; none where a store says nothing, or something else.

    An ETag of 32 hexadecimal digits is the MD5, but on Azure, and of objects encrypted with a key that is not
    S3's own. Google's digest is of the stored bytes, not of those that it unpacks for a client.
    """
    headers = response.headers
    texts = [headers.get("Content-MD5", "")]
    if headers.get("x-goog-stored-content-encoding", "identity").strip() == "identity":
        texts += _GOOG_MD5.findall(",".join(headers.get_all("x-goog-hash") or []))
    found: list[bytes] = []
    for text in filter(None, texts):
        with contextlib.suppress(ValueError):
            found.append(base64.b64decode(text.strip(), validate=True))
    encrypted = headers.get("x-amz-server-side-encryption", "").strip().startswith("aws:kms")
    customer_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    etag = _MD5_ETAG.fullmatch(headers.get("ETag", "").strip())
    if etag and kind != "azure" and not encrypted and not customer_key:
        found.append(bytes.fromhex(etag[1]))
    return found
