"""`metadata.yaml`: what a packaged model is, takes and gives."""

from __future__ import annotations

from typing import Any

from proto_model.deployment.package.facts import VersionFacts
from proto_model.dictionary import Entry
from proto_model.schema import Feature, ModelSchema


def metadata_text(facts: VersionFacts, schema: ModelSchema) -> str:
    """Text of the file."""
    import yaml

    content = {
        "name": facts.model,
        "version": facts.version,
        "description": facts.description,
        "author": facts.author,
        "created_date": facts.created,
        "trained_on_data": [dict(one) for one in facts.data_sets if one.get("context") != "testing"],
        "input_features": [_input(feature, schema.entry(feature.name)) for feature in schema.features],
        "output": _outputs(schema),
        "hyperparameters": dict(facts.hyperparameters),
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    return text


def _input(feature: Feature, entry: Entry) -> dict[str, Any]:
    return {
        "name": feature.name,
        "type": feature.type,
        "description": entry.description,
        "categories": None if feature.categories is None else list(feature.categories),
        **_more(entry),
    }


def _more(entry: Entry) -> dict[str, Any]:
    """What a data dictionary says of a column besides."""
    return {key: value for key, value in entry.to_dict().items() if key != "description"}


def _outputs(schema: ModelSchema) -> list[dict[str, Any]]:
    """What `predict` and `predict_proba` give, as `example.csv` names it."""
    labels = ", ".join(
        str(label).lower() if isinstance(label, bool) else str(label) for label in schema.classes
    )
    target = schema.entry(schema.target)
    what = f"{schema.target} ({target.description})" if target.description else schema.target
    prediction = {
        "name": "prediction",
        "type": schema.target_type,
        "description": f"{what}, as the version decides: not always the most probable class",
        "format": f"one of: {labels}",
        **_more(target),
    }
    return [
        prediction,
        *(
            {
                "name": name,
                "type": "double",
                "description": f"probability that {schema.target} is {label}",
                "format": "number from 0 to 1; those of a row sum to 1",
            }
            for name, label in zip(schema.probability_columns, schema.classes, strict=True)
        ),
    ]
