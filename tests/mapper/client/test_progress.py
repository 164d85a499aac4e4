import io

import pytest

from mapper.client.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("n_bytes", "shown"), [(2_000_000, "upload     25% of 2.0 MB"), (None, "\rupload    ...")]
)
def test_a_terminal_shows_the_current_step(n_bytes, shown, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("mapper.client.progress.REFRESH_S", 0)

    with Progress(terminal).step("upload", n_bytes) as advance:
        advance(500_000)
        assert shown in terminal.getvalue()


def test_elsewhere_a_line_is_written_when_a_step_is_done():
    out = io.StringIO()

    with Progress(out).step("upload", 1_500) as advance:
        assert out.getvalue() == ""
        advance(1_500)

    assert out.getvalue().startswith("upload    1.5 kB in ")


def test_a_step_that_fails_is_not_said_to_be_done():
    out = io.StringIO()

    with pytest.raises(OSError, match="gone"), Progress(out).step("upload", 1):
        raise OSError("gone")

    assert out.getvalue() == ""


def test_nobody_needs_to_be_told():
    with Progress().step("upload", 1) as advance:
        advance(1)
