"""Remake the pictures of the documents, with the date of each in docs/images/README.md.

    python -m scripts.pictures --fresh
    python -m scripts.pictures --mapper-url http://127.0.0.1:8080

With --fresh, all that the pictures show is made first, in a folder of its own: two trainings, a comparison
and the servers. Without, run it in the folder of `mlflow.db` and `build/comparison`, while the mapper of
README.md serves the champion. Pages are photographed by Debian's chromium through selenium
(`apt-get install chromium chromium-driver`). `explanation-reach.png` is made by the benchmark that
docs/explanations.md names.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from proto_model.deployment.browser import write_page
from proto_model.errors import ProtoModelError
from scripts import badges
from scripts.processes import HOST, ROOT, DemoError, free_port, interrupt_on_signals, server, step

IMAGES = ROOT / "docs" / "images"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
PAGE = (1000, 1071)  # pixels
DATES = "README.md"
HEAD = "# Pictures\n\nRemade by `make pictures`.\n\n| picture | made on |\n|---|---|\n"


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--fresh", action="store_true", help="train, compare and serve first")
    parser.add_argument("--model", default="proto_model", help="registered model (default: %(default)s)")
    parser.add_argument("--label", default="benign", help="class of the explained row (default: %(default)s)")
    parser.add_argument("--report", type=Path, default=Path("build/comparison"), help="default: %(default)s")
    parser.add_argument("--mapper-url", default="http://127.0.0.1:8080", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder to write to (default: docs/images)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures; 0 when all are there, 1 when something that they show is missing."""
    arguments = build_parser().parse_args(argv)
    interrupt_on_signals()
    try:
        with contextlib.ExitStack() as stage:
            if arguments.fresh:
                arguments.report, arguments.mapper_url = stage.enter_context(made())
            pictures(arguments)
    except (ProtoModelError, DemoError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def made() -> Iterator[tuple[Path, str]]:
    """Folder of a comparison, and URL of a mapper of the champion, in a store that this process uses."""
    with tempfile.TemporaryDirectory(prefix="proto_model-") as name:
        folder, uri = Path(name), "models:/proto_model@champion"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        train = ["mlflow", "run", "--env-manager", "local", str(ROOT / "src")]
        compare = [sys.executable, str(ROOT / "compare.py"), "--report", str(folder / "comparison")]
        for settings in ((), ("-P", "n_candidates=1", "-P", "random_state=1")):
            step([*train, *settings], cwd=folder, env=env)
            step(compare, cwd=folder, env=env, accepted=(0, 1), stdout=subprocess.DEVNULL)
        model, page = (free_port(0, purpose) for purpose in ("model server", "mapper"))
        urls = [f"http://{HOST}:{port}" for port in (model, page)]
        serve = [sys.executable, "-m", "proto_model", "serve", "-m", uri, "-p", str(model)]
        ask = [sys.executable, "-m", "mapper", "serve", "--model-server-url", urls[0], "--port", str(page)]
        with (
            server(serve, f"{urls[0]}/ping", folder / "server.log", folder, env),
            server(ask, f"{urls[1]}/readyz", folder / "mapper.log", folder, env),
        ):
            yield folder / "comparison", urls[1]


def pictures(arguments: argparse.Namespace) -> None:
    """Write all of them, and their dates."""
    out: Path = arguments.out
    shutil.copy(arguments.report / "comparison.png", out / "comparison.png")
    from_the_champion(arguments.model, arguments.label, out)
    mapper_page(arguments.mapper_url, out / "mapper-page.png")
    browser_page(f"models:/{arguments.model}@champion", out / "browser-page.png")
    badges.write(out)
    remade = ("browser-page", "comparison", "explanation", "leaderboard", "mapper-page")
    write_dates(out, [f"{name}.png" for name in remade], datetime.datetime.now(datetime.UTC).date())


def write_dates(folder: Path, names: Sequence[str], day: datetime.date) -> None:
    """Say of these pictures that they were made on a day; those of others stay."""
    path = folder / DATES
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| [")]
    dates = dict(row for row in rows) | {f"[{name}]({name})": day.isoformat() for name in names}
    table = "".join(f"| {name} | {date} |\n" for name, date in sorted(dates.items()))
    path.write_text(HEAD + table, encoding="utf-8")


def from_the_champion(model: str, label: str, folder: Path) -> None:
    """Leader board of the run that trained the champion, and its explanation of a row of a class."""
    client = MlflowClient()
    run = client.get_run(client.get_model_version_by_alias(model, "champion").run_id)
    pictures = {
        "explanation.png": (run.info.run_id, f"explanations/{label}.png"),
        "leaderboard.png": (run.data.tags["mlflow.parentRunId"], "leaderboard.png"),
    }
    for name, (run_id, path) in pictures.items():
        found = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path)
        shutil.copy(found, folder / name)


def mapper_page(url: str, path: Path) -> None:
    """The page with the row that it is pre-filled with, explained."""
    photographed(url, "#fields .field", path)


def browser_page(model_uri: str, path: Path) -> None:
    """The same of the page of `export browser`, opened from disk."""
    with tempfile.TemporaryDirectory(prefix="proto_model-") as folder:
        done = write_page(model_uri, Path(folder, "page"))
        photographed(done.index.as_uri(), "[data-ready]", path)


def photographed(url: str, ready: str, path: Path) -> None:
    """Picture of a page that is ready when it has something, and has explained its first row."""
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--window-size={PAGE[0]},{PAGE[1]}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        browser.get(url)
        wait = WebDriverWait(browser, 30)
        wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, ready))
        browser.find_element(By.XPATH, "//button[normalize-space()='Explain']").click()
        wait.until(lambda page: page.find_elements(By.CSS_SELECTOR, ".verdict strong"))
        browser.execute_script("window.scrollTo(0, 0)")
        browser.save_screenshot(str(path))
    finally:
        browser.quit()


if __name__ == "__main__":
    sys.exit(main())
