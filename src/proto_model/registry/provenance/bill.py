"""What a version is made of, as a CycloneDX 1.7 document with a model card.

https://cyclonedx.org/docs/1.7/json/
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from proto_model import __version__
from proto_model.registry.logged_model import DISTRIBUTIONS
from proto_model.registry.model_folder import BUNDLE
from proto_model.registry.provenance.origin import Origin
from proto_model.table import TrainingData

BILL_FILE = "bom.cdx.json"
_SCHEMA = "http://cyclonedx.org/schema/bom-1.7.schema.json"


def bill_of_materials(
    bundle: Path,
    data: TrainingData,
    origin: Origin,
    variant: str,
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """Document about the model of a bundle; the same content gives the same document."""
    libraries = [_library(name) for name in DISTRIBUTIONS]
    component = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": data.schema.model_name,
        "version": data.schema.digest,
        "description": f"{variant}, predicts {data.schema.target} of {data.name}",
        "modelCard": _card(data, origin, variant, metrics),
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{path.name}",
                "name": (BUNDLE / path.relative_to(bundle)).as_posix(),
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
            }
            for path in sorted(path for path in bundle.rglob("*") if path.is_file())
        ],
    }
    essence = json.dumps([component, libraries], sort_keys=True)
    return {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, essence)}",
        "version": 1,
        "metadata": {
            "component": component,
            "tools": {
                "components": [{"type": "application", "name": "proto-model-turbo", "version": __version__}]
            },
        },
        "components": libraries,
        "dependencies": [{"ref": "model", "dependsOn": [one["bom-ref"] for one in libraries]}],
    }


def _card(data: TrainingData, origin: Origin, variant: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    kinds = {"training": (origin.training_data, data.y_train), "test": (origin.test_data, data.y_test)}
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "classification",
            "architectureFamily": "forest of decision trees",
            "modelArchitecture": variant,
            "datasets": [
                {
                    "type": "dataset",
                    "name": f"{data.name}, {kind} rows",
                    "contents": {
                        "properties": [
                            {"name": "rows", "value": str(len(y))},
                            {"name": "sha256", "value": digest},
                            {"name": "split_digest", "value": data.split_digest},
                        ]
                    },
                }
                for kind, (digest, y) in kinds.items()
            ],
            "inputs": [{"format": f"{feature.name}: {feature.type}"} for feature in data.schema.features],
            "outputs": [{"format": f"{data.schema.target}: one of {len(data.schema.classes)} classes"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {"type": name, "value": repr(value), "slice": "test rows"} for name, value in metrics.items()
            ]
        },
    }


def _library(name: str) -> dict[str, Any]:
    number = version(name)
    purl = f"pkg:pypi/{name}@{number}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": number, "purl": purl}
