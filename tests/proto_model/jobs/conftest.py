import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PRICES = """
import json
import rounding

# modelop.init
def load():
    global prices
    with open("prices.json") as file:
        prices = json.load(file)

# modelop.score
def price(x):
    yield {"id": x["id"], "price": rounding.half(prices[x["letter"]])}

# modelop.metrics
def metrics(df):
    yield {"rows": len(df), "letters": sorted(df.letter)}

# modelop.training
def train(df):
    with open("outputDir/prices.json", "w") as file:
        json.dump(dict.fromkeys(df.letter, 1.0), file)
"""

SPARK = """
def begin():
    print("began")

# modelop.score
def copy(input_files, output_files, model_attachment_files):
    yield {"inputs": [one["fileUrl"] for one in input_files]}
"""

Write = Callable[..., Path]


def source(code: str = PRICES, **others: Any) -> dict[str, Any]:
    return {
        "name": "prices.py",
        "assetType": "SOURCE_CODE",
        "primaryModelSource": True,
        "sourceCode": code,
        **others,
    }


def external(url: str, **others: Any) -> dict[str, Any]:
    return {"name": Path(url.partition("?")[0]).name, "assetType": "EXTERNAL_FILE", "fileUrl": url, **others}


def document(**changes: Any) -> dict[str, Any]:
    """A job that scores a file of letters."""
    assets = [
        source(),
        {
            "name": "rounding.py",
            "assetType": "SOURCE_CODE",
            "primaryModelSource": False,
            "sourceCode": "half = lambda x: x / 2\n",
        },
        {"name": "prices.json", "assetType": "FILE", "fileContent": "eyJhIjogMywgImIiOiA0fQ=="},
    ]
    return {
        "jobType": "MODEL_BATCH_JOB",
        "jobStatus": "CREATED",
        "model": {"storedModel": {"modelAssets": assets, "modelMetaData": {"type": "PYTHON"}}},
        "inputData": [external("letters.csv", fileFormat="CSV")],
        "outputData": [external("prices.csv", fileFormat="CSV")],
        **changes,
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a job and its letters into a folder."""

    def written(content: Any = None, **changes: Any) -> Path:
        (tmp_path / "letters.csv").write_text("id,letter\n1,a\n2,z\n3,b\n")
        path = tmp_path / "job.json"
        path.write_text(json.dumps(document(**changes) if content is None else content))
        return path

    return written
