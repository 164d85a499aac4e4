"""How long the mapper's page takes until its form can be used, in Debian's chromium with an empty cache.

    python benchmarks/mapper_page.py --runs 10

Starts a mapper without a model server, which the first view does not need, for tables of 30 and of 500
features. Times are on the clock, from the navigation on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from proto_model.table import RawTable, prepare
from proto_model.training.background import StoredBackground

START_S = 60
# When the form is there: the page takes its mark of loading away.
_WATCH = """
new MutationObserver(() => {
  if (document.body && !("loading" in document.body.dataset)) window.usable ??= performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-loading"] });
"""
_TIMES = """
const [page] = performance.getEntriesByType("navigation");
const paint = performance.getEntriesByName("first-contentful-paint")[0];
const files = performance.getEntriesByType("resource");
return [page.responseEnd, paint && paint.startTime, window.usable, files.length,
  files.reduce((sum, one) => sum + one.transferSize, page.transferSize)];
"""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args(argv)
    for n_features in (30, 500):
        with tempfile.TemporaryDirectory() as folder, _mapper(n_features, Path(folder)) as url:
            runs = [_first_view(url) for _ in range(arguments.runs)]
        for name, found in zip(("answer", "paint", "usable"), zip(*runs, strict=True), strict=False):
            median, worst = statistics.median(found), max(found)
            print(f"{n_features} features, {name}: median {median:.0f} ms, worst {worst:.0f} ms")
        print(f"{n_features} features: {runs[0][3]:.0f} files, {runs[0][4]:,.0f} bytes sent")
    return 0


@contextmanager
def _mapper(n_features: int, folder: Path) -> Iterator[str]:
    """URL of a mapper for a table of that many numbers."""
    rng = np.random.default_rng(0)
    columns = {f"measurement {i}": rng.normal(size=200) for i in range(n_features)}
    table = pa.table({**columns, "kind": np.where(rng.random(200) < 0.5, "a", "b")})
    data = prepare(RawTable("table", "table", table), "kind")
    StoredBackground.of(data).described(data.schema).write(folder / "schema.json")
    command = [
        sys.executable,
        "-m",
        "mapper",
        "serve",
        "--port",
        "0",
        "--model-server-url",
        "http://127.0.0.1:1",
    ]
    log = folder / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen([*command, "--schema", str(folder / "schema.json")], stderr=stderr)
    try:
        end = time.monotonic() + START_S
        while "listening on" not in log.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"The mapper did not start: {log.read_text()}")
            time.sleep(0.02)
        yield log.read_text().split("listening on ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(20)


def _first_view(url: str) -> list[float]:
    """Milliseconds to answer, paint and usable form; files and bytes. A browser of its own each time."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise SystemExit(
            "chromium and chromedriver are not on PATH: apt-get install chromium chromium-driver"
        )
    os.environ["SE_OFFLINE"] = "true"  # the driver is at hand
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.get("about:blank")
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
        browser.get(url)
        WebDriverWait(browser, 30, 0.02).until(
            lambda one: one.execute_script(
                "return window.usable && performance.getEntriesByName('first-contentful-paint').length"
            )
        )
        found: list[float] = browser.execute_script(_TIMES)
        return found
    finally:
        browser.quit()


if __name__ == "__main__":
    sys.exit(main())
