"""README.md of an exported source."""

from __future__ import annotations

from proto_model.deployment.modelop.layout import (
    ATTACHMENT,
    INPUT_SCHEMA,
    OUTPUT_SCHEMA,
    REQUIREMENTS,
    SOURCE,
)
from proto_model.schema import ModelSchema

MAX_CLASSES = 10

_TEXT = """# {title} as a model source

`{source}` predicts `{target}`: {classes}. Its tags name the functions that ModelOp's runtime calls.

| function | takes | gives |
|---|---|---|
| init (`begin`) | | loads the model of `{attachment}` |
| score (`action`) | a record, as `{input}` says | prediction and probabilities, as `{output}` says |
| metrics (`metrics`) | rows with the column `{target}` | metrics, confusion matrix, ROC curve |
| training (`train`) | rows with the column `{target}` | the forest, fitted anew: `outputDir/{attachment}` |

Install what it needs with `pip install -r {requirements}`, in this folder. Training also needs
`pip install "proto-model-turbo[train]"`, and checking schemas `pip install "proto-model-turbo[sources]"`.

```bash
python -m proto_model source run {source} --attachment {attachment} --data rows.csv
```

To register it in another MLflow, with its history:
`python -m proto_model source register {source} --attachment {attachment} --name churn`.
"""


def readme_text(title: str, schema: ModelSchema) -> str:
    """Text of the file."""
    classes = ", ".join(f"`{label}`" for label in schema.classes[:MAX_CLASSES])
    return _TEXT.format(
        title=title,
        source=SOURCE,
        target=schema.target,
        classes=classes + (", ..." if len(schema.classes) > MAX_CLASSES else ""),
        attachment=ATTACHMENT,
        input=INPUT_SCHEMA,
        output=OUTPUT_SCHEMA,
        requirements=REQUIREMENTS,
    )
