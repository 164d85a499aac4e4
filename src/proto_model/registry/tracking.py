"""MLflow's store and what it says: checked once before long work, kept quiet, shown without secrets.

Importing this module loads neither MLflow nor rich: `quiet_mlflow` has to come before MLflow.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from proto_model.errors import CallerError, RegistryError

if TYPE_CHECKING:
    from rich.console import Console

#: Unless it is false, the uv.lock of the current folder goes into every version.
DETECT_UV = "MLFLOW_UV_AUTO_DETECT"

_QUIET_VARIABLES = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
    DETECT_UV: "false",
}

#: MLflow by itself tries for minutes to reach a server that is not there.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_GLYPH = re.compile(r"Glyph \d+ .* missing from font\(s\) (.+)\.")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


class NoStoreError(RegistryError, CallerError):
    """There is no SQLite file of MLflow's where one is named."""


def check_store(uri: str, *, may_create: bool = False) -> None:
    """Raise RegistryError unless a tracking server answers in half a minute, or a SQLite file is usable.

    A file that is not there is an error too, unless the command may make one: MLflow would in any case.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from proto_model.registry.refusals import LOGIN, NotAllowedError, is_unknown_user

    path = sqlite_path(uri)
    if path is not None and not may_create and not path.exists():
        raise NoStoreError(
            f"There is no MLflow store {path.absolute()}. To make one, train a model: python -m proto_model "
            "train. Or set MLFLOW_TRACKING_URI to the store or server that you mean."
        )
    problem = _sqlite_problem(uri)
    if problem is None:
        added = {name: value for name, value in _IMPATIENT.items() if name not in os.environ}
        os.environ.update(added)
        try:
            MlflowClient(uri).search_experiments(max_results=1)
        except (MlflowException, OSError) as error:
            if is_unknown_user(error):
                raise NotAllowedError(
                    without_credentials(f"MLflow at {uri} does not know this name and password. {LOGIN}")
                ) from error
            problem = _shortened(" ".join(str(error).split()))
        finally:
            for name in added:
                os.environ.pop(name, None)
    if problem is not None:
        advice = "Check MLFLOW_TRACKING_URI"
        advice += "." if path is not None else " and whether the server is running."
        raise RegistryError(without_credentials(f"Cannot use MLflow at {uri}. {advice} {problem}"))


def is_url(text: str) -> bool:
    """Whether a text is meant as an http(s) URL."""
    return text.lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """URL without credentials, query and fragment, which may be secrets.

    Examples
    --------
    >>> shown_url("https://me:secret@files.example:8000/a/wine.csv?signature=secret#top")
    'https://files.example:8000/a/wine.csv'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL (it is malformed)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def without_folder(text: str) -> str:
    """A text; of an absolute path, the last part, which says something on other machines, too.

    Examples
    --------
    >>> without_folder("/home/me/wine.csv"), without_folder("log2"), without_folder("https://files.example/a.csv")
    ('wine.csv', 'log2', 'https://files.example/a.csv')
    """
    return Path(text).name if Path(text).is_absolute() else text


def _shortened(problem: str) -> str:
    """What MLflow's client says of a server, without its retries and the classes of its errors."""
    refused = re.search(
        r"Connection refused|Name or service not known|timed out|nodename nor servname", problem
    )
    return f"{refused[0]}." if refused else problem[:300]


def without_credentials(text: str) -> str:
    """Text whose URLs name no user and no password.

    Examples
    --------
    >>> without_credentials("No answer from https://me:secret@mlflow.example:5000/api")
    'No answer from https://mlflow.example:5000/api'
    """
    return _CREDENTIALS.sub("", text)


def printable(text: str) -> str:
    r"""Text without characters that steer a terminal, or that are half a character.

    Examples
    --------
    >>> printable("a\x1b[2J")
    'a�[2J'
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(one) in ("Cc", "Cf", "Cs") and one not in "\n\t"
        else one
        for one in text
    )


def sqlite_path(uri: str) -> Path | None:
    """File of a SQLite store; None for any other."""
    scheme, _, rest = uri.partition(":///")
    path = Path(unquote(rest.partition("?")[0]))
    return None if scheme != "sqlite" or rest.startswith("file:") else path


def _sqlite_problem(uri: str) -> str | None:
    """What is wrong with a SQLite file, which MLflow would try again and again for a minute and a half."""
    path = sqlite_path(uri)
    if path is None or not path.parent.is_dir():
        return None  # MLflow makes the folder
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        return f"{path}: {error}."
    return None


def quiet_mlflow() -> None:
    """Let MLflow speak only when something is wrong, unless the environment says otherwise.

    Call it before mlflow is imported, which reads the level that is set here.
    """
    for name, value in _QUIET_VARIABLES.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())


@contextmanager
def warnings_shown_once(console: Console) -> Iterator[None]:
    """Print each distinct Python warning once, on one line, without its place in the code.

    Deprecations concern those who write the code, not those who run it; they are left out.
    """
    from rich.markup import escape

    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        text = " ".join(_COLOR.sub("", str(message)).split())
        text = _GLYPH.sub(r"the font \1 lacks some characters; the figures show boxes instead", text)
        if text.startswith("`sklearn.utils.parallel.delayed`"):
            return  # fits in one thread, while another has no warning filters for a moment: nothing is wrong
        if text not in shown and not issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
            shown.add(text)
            console.print(f"[yellow]warning:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)

    with warnings.catch_warnings():
        # A file job's URLs are good for one person and a short time, so there is no example of one.
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        # scikit-learn's, about few rows of many classes, which test rows often are.
        warnings.filterwarnings("ignore", "The number of unique classes is greater than", UserWarning)
        warnings.showwarning = show
        yield


def commit_of(run_id: str) -> str:
    """Commit of the code that a run was made with; empty if the run is not in this store, or has none."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        tags: dict[str, str] = MlflowClient().get_run(run_id).data.tags if run_id else {}
    except MlflowException:  # a folder may come from another store
        return ""
    return tags.get("mlflow.source.git.commit", "")
