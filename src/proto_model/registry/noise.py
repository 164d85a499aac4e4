"""What other libraries say during a run: MLflow's small talk is left out, each warning is shown once."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape

__all__ = ["quiet_mlflow", "warnings_shown_once"]

_QUIET_VARIABLES = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}

_GLYPH = re.compile(r"Glyph \d+ .* missing from font\(s\) (.+)\.")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def quiet_mlflow() -> None:
    """Let MLflow speak only when something is wrong, unless the environment says otherwise.

    To be called before mlflow is imported, which then reads the level that is set here.
    """
    for name, value in _QUIET_VARIABLES.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())


@contextmanager
def warnings_shown_once(console: Console) -> Iterator[None]:
    """Print each different Python warning once, on one line, without the place in the code.

    Deprecations are for those who write the code, not for those who run it, and stay unsaid.

    Parameters
    ----------
    console : Console
        Where to print.
    """
    shown: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = _GLYPH.sub(
            r"characters that the font \1 lacks are boxes in the figures",
            " ".join(_COLOR.sub("", str(message)).split()),
        )
        if text not in shown and not issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
            shown.add(text)
            console.print(f"[yellow]warning:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)

    with warnings.catch_warnings():
        # A file job's URLs are good for one person and a short time, so there is no example of one.
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        # scikit-learn's, of few rows of many classes, such as the test rows are.
        warnings.filterwarnings("ignore", "The number of unique classes is greater than", UserWarning)
        warnings.showwarning = show
        yield
