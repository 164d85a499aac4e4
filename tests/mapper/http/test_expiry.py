import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mapper.http.certificates import Certificates
from mapper.http.expiry import expires
from tests.certificates import Authority

KEYS = [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)]
DATES = st.datetimes(datetime.datetime(1950, 1, 2), datetime.datetime(2200, 1, 1))


def pem(until, key=KEYS[0], name="server", serial=1):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime.datetime(1950, 1, 1))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), certificate.not_valid_after_utc


@given(
    until=DATES,
    key=st.sampled_from(KEYS),
    name=st.text("abcä", min_size=1, max_size=60),
    serial=st.integers(1, 2**158),
)
def test_it_is_the_date_that_cryptography_reads(tmp_path_factory, until, key, name, serial):
    path = tmp_path_factory.mktemp("pem") / "chain.pem"
    written, expected = pem(until, key, name, serial)
    path.write_bytes(b"a comment\n" + written + pem(datetime.datetime(2100, 1, 1))[0])

    assert expires(path) == expected


def test_a_file_without_a_certificate_has_none(tmp_path):
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")

    assert expires(tmp_path / "key.pem") is None


@pytest.mark.parametrize(
    ("days", "said"), [(-1, "expired on"), (1, "expires on"), (29, "expires on"), (31, "")]
)
def test_a_server_warns_once_of_a_certificate_that_expires(tmp_path, caplog, days, said):
    certificates = Certificates(*Authority.made(tmp_path).issue("server", days=days))

    certificates.refresh()
    certificates.refresh()

    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (1 if said else 0)
    assert all(said in message and "server.pem" in message for message in messages)


def test_a_renewed_certificate_is_warned_of_anew(tmp_path, caplog):
    authority = Authority.made(tmp_path)
    certificates = Certificates(*authority.issue("server", days=2))
    certificates.refresh()

    for days, n_messages in ((90, 1), (3, 2)):
        authority.issue("server", days=days)
        certificates.refresh()
        assert sum("expires on" in record.getMessage() for record in caplog.records) == n_messages
