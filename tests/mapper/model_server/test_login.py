"""The token that the mapper shows, and the authority that it trusts."""

import pytest

from mapper.errors import SettingsError
from mapper.model_server.login import Login
from tests.certificates import Authority

TOKEN = "t" * 32
URL = "https://me:pw@models:5001"


@pytest.mark.parametrize("text", [TOKEN, f"mapper: {TOKEN}\n", f"# mine\nmapper {TOKEN}", f"mapper:{TOKEN}"])
def test_a_token_goes_before_the_login_of_a_url(tmp_path, text):
    (tmp_path / "token").write_text(text)

    assert Login(str(tmp_path / "token")).headers(URL) == {"Authorization": f"Bearer {TOKEN}"}
    assert Login().headers(URL) == {"Authorization": "Basic bWU6cHc="}
    assert Login().headers("http://models") == {}
    assert Login().context("http://models") is None


@pytest.mark.parametrize("text", [None, "", "# nothing", "a: b\nc: d", "é" * 20, "a\x00b"])
def test_a_file_without_one_token_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "token").write_text(text)

    with pytest.raises(SettingsError, match="token file"):
        Login(str(tmp_path / "token"))


def test_an_authority_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "ca").write_text("none")

    with pytest.raises(SettingsError, match="authority"):
        Login(ca_file=str(tmp_path / "ca")).context(URL)


def test_a_changed_token_is_read_again_and_a_broken_one_is_not_taken(tmp_path, caplog):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    login = Login(str(path))
    assert not login.refresh()
    path.write_text("")
    assert not login.refresh()
    assert not login.refresh()
    assert login.header(URL) == f"Bearer {TOKEN}"
    assert caplog.text.count("read last") == 1

    path.write_text("new: " + "n" * 20)
    assert login.refresh()
    assert login.header(URL) == "Bearer " + "n" * 20


def test_a_certificate_that_cannot_be_used_is_an_error(tmp_path):
    chain, key = Authority.made(tmp_path).issue("mapper")

    assert Login(cert_file=str(chain), key_file=str(key)).context(URL) is not None
    with pytest.raises(SettingsError, match=r"certificate .*mapper\.pem with its key"):
        Login(cert_file=str(chain)).context(URL)
    with pytest.raises(SettingsError, match="without its certificate"):
        Login(key_file=str(key))


def test_changed_files_for_tls_are_told(tmp_path):
    authority = Authority.made(tmp_path)
    chain, key = authority.issue("mapper")
    login = Login(ca_file=str(tmp_path / "authority.pem"), cert_file=str(chain), key_file=str(key))
    assert not login.refresh()

    authority.issue("mapper")

    assert login.refresh()
    assert not login.refresh()
