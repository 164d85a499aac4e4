"""Write the folder of a page: everything aside, then in place at once."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proto_model.deployment.browser.model import model_bytes
from proto_model.deployment.browser.pages import ENGINE, INDEX, MODEL, engine_text, index_text
from proto_model.deployment.package.digests import manifest_text
from proto_model.deployment.package.errors import PackageError
from proto_model.deployment.package.gathering import gathered
from proto_model.deployment.package.layout import MANIFEST
from proto_model.model import Bundle
from proto_model.registry.model_folder import BUNDLE
from proto_model.registry.publishing import Trust
from proto_model.registry.publishing.files import contents
from proto_model.registry.publishing.findings import check


@dataclass(frozen=True)
class WrittenPage:
    """A page that was written; `sha256` is the digest of its model, which the page checks first."""

    index: Path
    title: str
    n_bytes: int  # of the page
    sha256: str
    published: bool
    has_rows: bool  # whether it holds rows of the training table

    def to_dict(self) -> dict[str, Any]:
        """JSON object of what was written."""
        facts = asdict(self)
        return {"path": str(facts.pop("index")), "bytes": facts.pop("n_bytes"), **facts}


def write_page(model_uri: str, out: Path, *, trust: Trust | None = None) -> WrittenPage:
    """Write a page that answers as a version does, into a new folder.

    Parameters
    ----------
    model_uri : str
        A version, such as models:/proto_model@champion, or a model's folder.
    out : Path
        A folder that is new or empty.
    trust : Trust, optional
        What is asked of the version. A published one has to be what was published in any case.

    Raises
    ------
    PackageError
        If there is something already.
    ProtoModelError
        If there is no such version, or it cannot be trusted.
    """
    if any(out.iterdir()) if out.is_dir() else out.exists():
        raise PackageError(f"{out} is there already. Remove it, or give another name.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        gathered(model_uri, trust or Trust()) as version,
        tempfile.TemporaryDirectory(prefix=".proto_model-", dir=out.parent) as aside,
    ):
        check(model_uri, contents(version.folder)[1])
        bundle = Bundle.load(version.folder / BUNDLE)
        facts = version.facts
        title = f"Version {facts.version} of {facts.model}" if facts.version else facts.model
        about = {
            "title": title,
            "model": facts.model,
            "version": facts.version,
            "created": facts.created,
        }
        model = model_bytes(bundle, about)
        digest = hashlib.sha256(model).hexdigest()
        files = {
            INDEX: index_text(model, digest, facts.model).encode(),
            ENGINE: engine_text().encode(),
            MODEL: model,
        }
        files[MANIFEST] = manifest_text(
            {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        ).encode()
        folder = Path(aside, "page")
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        folder.replace(out)
        has_rows = bundle.background_kind == "rows"
    return WrittenPage(out / INDEX, title, len(files[INDEX]), digest, version.is_published, has_rows)
