"""Remake the pictures in docs/images from what the commands of README.md and docs/promotion.md left here.

Example: python scripts/pictures.py --mapper-url http://127.0.0.1:8080

Run it in the folder of `mlflow.db` and `build/comparison`, while the mapper of README.md serves the champion.
The page is photographed by Debian's chromium (`apt-get install chromium chromium-driver`) through selenium.
`explanation-reach.png` is made by the benchmark that docs/explanations.md names.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from proto_model.deployment.browser import write_page
from proto_model.errors import ProtoModelError

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
PAGE = (1000, 1071)  # pixels


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python scripts/pictures.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="proto_model", help="registered model (default: %(default)s)")
    parser.add_argument("--label", default="benign", help="class of the explained row (default: %(default)s)")
    parser.add_argument("--report", type=Path, default=Path("build/comparison"), help="default: %(default)s")
    parser.add_argument("--mapper-url", default="http://127.0.0.1:8080", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder to write to (default: docs/images)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures; 0 when all are there, 1 when something that they show is missing."""
    arguments = build_parser().parse_args(argv)
    try:
        shutil.copy(arguments.report / "comparison.png", arguments.out / "comparison.png")
        from_the_champion(arguments.model, arguments.label, arguments.out)
        mapper_page(arguments.mapper_url, arguments.out / "mapper-page.png")
        browser_page(f"models:/{arguments.model}@champion", arguments.out / "browser-page.png")
    except (ProtoModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


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
