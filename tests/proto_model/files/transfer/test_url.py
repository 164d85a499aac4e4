from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto_model.files.transfer import PresignedUrl, UrlError

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
AMZ = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260501T120000Z&X-Amz-Signature=5ec4e7"
GOOG = "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20260501T120000Z&X-Goog-Signature=5ec4e7"


def parse(text: object) -> PresignedUrl:
    return PresignedUrl.parse(text, "output_url")


@pytest.mark.parametrize(
    ("query", "kind", "expires_at", "signed_headers"),
    [
        (f"{AMZ}&X-Amz-Expires=60&X-Amz-SignedHeaders=host", "s3v4", (12, 1), ()),
        (
            f"{AMZ}&X-Amz-Expires=60&X-Amz-SignedHeaders=content-type%3Bhost",
            "s3v4",
            (12, 1),
            ("content-type",),
        ),
        (f"{GOOG}&X-Goog-Expires=120&X-Goog-SignedHeaders=host;x-goog-acl", "gcs", (12, 2), ("x-goog-acl",)),
        ("AWSAccessKeyId=k&Signature=5ec4e7%3D&Expires=1777636980", "s3v2", (12, 3), ()),
        ("GoogleAccessId=k&Signature=5ec4e7%3D&Expires=1777636980", "s3v2", (12, 3), ()),
        ("sv=2024-11-04&sr=b&sig=5ec4e7%3D&se=2026-05-01T12%3A04%3A00Z&sp=r", "azure", (12, 4), ()),
        ("sig=5ec4e7&se=2026-05-01T12:04", "azure", (12, 4), ()),
        ("", "none", None, ()),
        ("a=b", "none", None, ()),
    ],
)
def test_kind_expiry_and_signed_headers(query, kind, expires_at, signed_headers) -> None:
    url = parse(f"https://Store.Example/bucket/a%20key~.csv?{query}")

    assert url.kind == kind
    assert url.signed_headers == signed_headers
    assert url.expires_at == (expires_at and NOON.replace(hour=expires_at[0], minute=expires_at[1]))
    assert url.target == "/bucket/a%20key~.csv" + (f"?{query}" if query else "")
    assert (url.host, url.netloc, url.port) == ("store.example", "Store.Example", 443)


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "people.csv",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://store.example/k",
        "gopher://127.0.0.1:6379/_x",
        "data:text/csv,a",
        "https://store.example:0/k",
        "https://a[::1]b/k",
        "https://[2606:4700::1111]b:443/k",
        "//store.example/k",
        "https://",
        "https:///k",
        "https://user@store.example/k",
        "https://user:word@store.example/k",
        "https://store.example@127.0.0.1/k",
        "https://store.example/k#fragment",
        "https://store.example#@127.0.0.1/k",
        "https://store.example\\@127.0.0.1/k",
        "https://store.example:port/k",
        "https://store.example:99999/k",
        "https://[::1/k",
        "https://[fe80::1%25eth0]/k",
        "https://[v1.x]/k",
        "https://st\u00f6re.example/k",
        "https://\u2488\u2488.example/k",
        "https://store.example/a b",
        "https://store.example/a\r\nHost: other",
        "https://store.example/a\tb",
        "https://store.example/\0",
        "https://st%6fre.example/k",
        "https://store.example/" + "k" * 20_000,
    ],
)
def test_what_is_no_plain_url_is_refused(text: object) -> None:
    with pytest.raises(UrlError, match="output_url"):
        parse(text)


def test_an_expiry_that_cannot_be_read_is_an_error() -> None:
    for query in (f"{AMZ}&X-Amz-Expires=soon", "Signature=5&Expires=1e99999", "sig=5&se=tomorrow"):
        with pytest.raises(UrlError, match="expiry"):
            parse(f"https://store.example/k?{query}")


def test_an_expired_url_says_when_it_ended() -> None:
    url = parse(f"https://store.example/k?{AMZ}&X-Amz-Expires=60")

    url.check_expiry("output_url", NOON)
    with pytest.raises(UrlError, match="expired at 2026-05-01 12:01:00 UTC"):
        url.check_expiry("output_url", NOON.replace(minute=1))


def test_the_query_is_never_shown() -> None:
    url = parse(f"https://store.example/k?{AMZ}")

    assert str(url) == repr(url) == "https://store.example/k"
    assert "5ec4e7" not in f"{url} {url!r} {[url]}"


@given(st.text(min_size=6, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_value_of_the_query_is_redacted(secret: str, before: str, after: str) -> None:
    from urllib.parse import quote

    url = parse(f"https://store.example/k?sig={quote(secret, safe='')}&se=2026-05-01")

    assert quote(secret, safe="") not in url.redact(before + quote(secret, safe="") + after).replace(
        "[hidden]", "\n"
    )


SIGNATURE = "5ec4e7c0ffee" * 5 + "0123"


@pytest.mark.parametrize(
    "said",
    [
        SIGNATURE,
        SIGNATURE.upper(),
        SIGNATURE.title(),
        SIGNATURE[:48],
        SIGNATURE[17:30],
        f"{SIGNATURE[:20]} {SIGNATURE[20:]}",
        "AKIASECRETKEY",
        "AKIASECRETKEY%2F20260501",
        "akiasecretkey/20260501/eu-west-1/s3/aws4_request",
    ],
)
def test_a_secret_is_hidden_in_any_case_and_in_pieces(said: str) -> None:
    url = parse(
        "https://store.example/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host"
        "&X-Amz-Credential=AKIASECRETKEY%2F20260501%2Feu-west-1%2Fs3%2Faws4_request"
        f"&X-Amz-Date=20260501T115900Z&X-Amz-Expires=120&X-Amz-Signature={SIGNATURE}"
    )

    hidden = url.redact(f"The store said {said} of eu-west-1.")

    assert hidden.startswith("The store said [hidden]")
    assert hidden.endswith(" of eu-west-1.")
    secrets = SIGNATURE + "akiasecretkey"
    assert not any(secrets[i : i + 8] in hidden.lower() for i in range(len(secrets) - 7))


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for candidate in (text, f"https://{text}", f"https://store.example/{text}"):
        try:
            url = parse(candidate)
        except UrlError:
            continue
        assert candidate.endswith(url.target) or url.target == "/" or url.target.startswith("/?")
