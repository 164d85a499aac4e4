"""Build the documentation site.

    python -m scripts.documents

The site is written to build/site: open build/site/index.html, or serve the folder by any web server. It
loads nothing from other hosts, and search works from disk. A link that leads nowhere ends the build with 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.documents.stage import ROOT, DocumentError, stage

SHIM = Path(__file__).with_name("iframe-worker.js")
SHIM_FOLDER = "assets/javascripts"
# The generator loads the script that makes search work from disk from another host.
OUTSIDE_SHIM = re.compile(r'src="?https://unpkg\.com/iframe-worker/shim"?')
OUTSIDE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?https?://[^\s\">]*")


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    return argparse.ArgumentParser(
        prog="python -m scripts.documents",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Build the site; 1 with a message if it cannot be built."""
    build_parser().parse_args(argv)
    try:
        print(build(ROOT))
    except DocumentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(root: Path) -> Path:
    """Folder of the site of a checkout; DocumentError if it cannot be built."""
    source, site = root / "build" / "site-source", root / "build" / "site"
    for folder in (source, site, root / ".cache"):
        shutil.rmtree(folder, ignore_errors=True)
    stage(source, root)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True)
    if done.returncode:
        raise DocumentError(f"The site cannot be built:\n{done.stdout}{done.stderr}")
    for page in site.rglob("*.html"):
        stay_inside(page, site)
    shutil.copyfile(SHIM, site / SHIM_FOLDER / SHIM.name)
    return site


def stay_inside(page: Path, site: Path) -> None:
    """Have a page load nothing from other hosts; DocumentError if it would."""
    up = "../" * (len(page.relative_to(site).parts) - 1)
    text = page.read_text(encoding="utf-8")
    text = OUTSIDE_SHIM.sub(f'src="{up}{SHIM_FOLDER}/{SHIM.name}"', text)
    if loaded := OUTSIDE.search(text):
        raise DocumentError(f"{page.relative_to(site)} loads from another host: {loaded[0]}")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
