"""Tokens: files with them, what a request must say, and attacks on both."""

import os

import pytest

from mapper.errors import SettingsError
from mapper.http.access import MAX_TOKENS, Access, AccessError, open_paths, read_tokens
from mapper.model_server.login import Login

ANNA, BOB, OLD = "a" * 32, "b" * 32, "0" * 32
FILE = f"# who may ask\n\nanna: {ANNA}\nbob {BOB}\n  anna :\t{OLD}  \r\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


def bearer(token, scheme="Bearer "):
    value = token if isinstance(token, bytes) else token.encode()
    return [(b"host", b"x"), (b"authorization", scheme.encode() + value)]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        (bearer(ANNA), "anna"),
        (bearer(OLD), "anna"),
        (bearer(BOB), "bob"),
        (bearer(BOB, "bEARER   "), "bob"),
        (bearer(BOB + " \t", " Bearer "), "bob"),
    ],
)
def test_a_token_gives_the_name_of_its_client(path, headers, name):
    assert Access(path).name_of(b"/invocations", headers) == name


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearer(""),
        bearer(ANNA[:-1]),
        bearer(ANNA + "a"),
        bearer(ANNA.upper()),
        bearer(f"{ANNA}, {BOB}"),
        bearer(f"{ANNA}\x00"),
        bearer(f"x {ANNA}"),
        bearer(b"\xff" * 32),
        bearer("é" * 32),
        bearer("x" * 30_000),
        bearer(ANNA, "Bearer"),
        bearer(ANNA, "Bearer\t"),
        bearer(ANNA, "Basic "),
        bearer(ANNA, ""),
        bearer("anna"),
        [(b"x-authorization", f"Bearer {ANNA}".encode())],
    ],
)
def test_nothing_else_lets_anybody_in(path, headers):
    with pytest.raises(PermissionError) as raised:
        Access(path, ["/ping"]).name_of(b"/invocations", headers)

    assert ANNA not in str(raised.value)


def test_two_headers_are_refused_even_if_both_are_right(path):
    with pytest.raises(ValueError, match="Two Authorization headers"):
        Access(path).name_of(b"/a", bearer(ANNA) + bearer(ANNA))


def test_open_paths_need_no_token_but_only_as_they_are_written(path):
    access = Access(path, ["/ping", "/"])

    assert access.name_of(b"/ping", []) == ""
    assert access.name_of(b"/ping?a=b", []) == ""
    assert access.name_of(b"/ping", bearer("wrong")) == ""
    assert access.name_of(b"/ping", bearer(BOB)) == "bob"
    others = (
        b"/pin%67",
        b"//ping",
        b"/ping/",
        b"/ping#",
        b"http://x/ping",
        b"/ping/../invocations",
        b"*",
        b"",
    )
    for url in others:
        with pytest.raises(PermissionError):
            access.name_of(url, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no tokens"),
        ("# only a comment\n", "has no tokens"),
        ("anna\n", "Line 1"),
        (f"anna: {ANNA} {BOB}\n", "Line 1"),
        (f"anna smith: {ANNA}\n", "Line 1"),
        (f"\nanna: {ANNA}\nbob: short\n", "line 3"),
        (f"anna: {ANNA[:-1]}é\n", "line 1"),
        (f"anna: {ANNA}\nbob: {ANNA}\n", "another name"),
        ("\n".join(f"anna: {number:032}" for number in range(MAX_TOKENS + 1)), "at most"),
        ("x" * 2_000_000, "bytes"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_shows_no_token(path, text, said):
    path.write_text(text)

    with pytest.raises(AccessError, match=said) as raised:
        read_tokens(path)

    assert ANNA not in str(raised.value)
    assert "short" not in str(raised.value)


def test_a_file_that_others_may_write_is_refused_and_one_that_all_may_read_is_reported(path, caplog):
    path.chmod(0o644)
    read_tokens(path)
    assert "chmod o-r" in caplog.text

    path.chmod(0o620)
    with pytest.raises(AccessError, match="chmod go-w"):
        read_tokens(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_token_file(tmp_path):
    os.mkfifo(tmp_path / "tokens", 0o600)

    with pytest.raises(AccessError, match="not a regular file"):  # and does not wait for who writes it
        read_tokens(tmp_path / "tokens")
    with pytest.raises(SettingsError, match="not a regular file"):
        Login(str(tmp_path / "tokens"))


@pytest.mark.parametrize("text", ["", "name:", "a b\nc d", "\N{SNOWMAN}" * 20])
def test_a_file_without_one_token_is_no_login(tmp_path, text):
    (tmp_path / "token").write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match="must hold one line"):
        Login(str(tmp_path / "token"))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(AccessError, match="Cannot read"):
        Access(tmp_path / "none")


def replace(path, text):
    """Write a file as those do that others read: beside it, then in its place."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o600)
    os.replace(beside, path)


def test_a_changed_file_is_read_again(path, caplog):
    caplog.set_level("INFO")
    access = Access(path)
    replace(path, f"carl: {BOB}\n")
    access.refresh()

    assert access.name_of(b"/", bearer(BOB)) == "carl"
    with pytest.raises(PermissionError):
        access.name_of(b"/", bearer(ANNA))
    assert "1, of carl" in caplog.text
    assert BOB not in caplog.text


@pytest.mark.parametrize("text", ["", "anna", None])
def test_a_file_that_breaks_leaves_the_tokens_that_were_read_last(path, text, caplog):
    access = Access(path)
    path.unlink() if text is None else replace(path, text)
    for _ in range(3):
        access.refresh()

    assert access.name_of(b"/", bearer(ANNA)) == "anna"
    assert caplog.text.count("stay in force") == 1
    replace(path, FILE)
    access.refresh()
    assert access.name_of(b"/", bearer(BOB)) == "bob"


def test_no_token_is_in_memory(path):
    access = Access(path)

    held = repr(vars(access))
    assert ANNA not in held
    assert BOB not in held


def test_what_is_left_open_is_named():
    known = {"health": ("/ping",), "metrics": ("/metrics",)}

    assert open_paths("health, metrics", known) == ["/ping", "/metrics"]
    assert open_paths("none", known) == open_paths("", known) == []
    with pytest.raises(AccessError, match="'all' cannot be left open"):
        open_paths("all", known)


def test_servers_know_one_token_by_different_hashes(path):
    # Otherwise the time of a look-up could tell a patient client something about the tokens.
    one, other = Access(path), Access(path)

    assert one._names.keys().isdisjoint(other._names)
