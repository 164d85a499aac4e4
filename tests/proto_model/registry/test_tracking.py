import io
import os
import socket
import warnings

import pytest
from rich.console import Console

from proto_model.errors import RegistryError
from proto_model.registry.tracking import check_store, is_url, shown_url, warnings_shown_once


def test_a_server_that_is_down_is_said_at_once_without_the_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}"

        with pytest.raises(RegistryError, match=r"Cannot use MLflow at http://127\.0\.0\.1:\d+\.") as caught:
            check_store(uri)

    assert "secret" not in str(caught.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_file_that_cannot_be_a_store_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database at all")
    for path, problem in (
        ("notes.txt", "file is not a database"),
        ("", "unable to open database file"),
    ):
        with pytest.raises(RegistryError, match=problem):
            check_store(f"sqlite:///{tmp_path}/{path}")


def test_a_scheme_that_mlflow_does_not_know_is_an_error():
    with pytest.raises(RegistryError, match="Cannot use MLflow at nosuch://x"):
        check_store("nosuch://x")


def test_a_warning_is_shown_once_on_one_line_without_the_code_it_came_from():
    out = io.StringIO()

    with warnings_shown_once(Console(file=out, width=40)):
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("\x1b[33mfew rows [of\n class] b\x1b[0m", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)

    assert out.getvalue() == "warning: few rows [of class] b\nwarning: another\n"


def test_missing_glyphs_are_one_warning_and_many_classes_in_few_rows_none():
    out = io.StringIO()

    with warnings_shown_once(Console(file=out)):
        warnings.filterwarnings("always", "Glyph")
        for sign in ("12354 (\\N{HIRAGANA LETTER A})", "12356 (\\N{HIRAGANA LETTER I})"):
            warnings.warn(f"Glyph {sign} missing from font(s) DejaVu Sans.", UserWarning, stacklevel=1)
        warnings.warn("The number of unique classes is greater than 50% of ...", UserWarning, stacklevel=1)

    assert out.getvalue() == (
        "warning: the font DejaVu Sans lacks some characters; the figures show boxes instead\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("HTTPS://a/b.csv", True), ("http.csv", False), ("wine", False)]
)
def test_urls_are_told_from_paths(text, expected):
    assert is_url(text) is expected


def test_credentials_and_queries_are_not_shown():
    assert shown_url("https://me:hush@files.example/a/b.csv?sig=hush#hush") == "https://files.example/a/b.csv"
