"""An in-toto statement of how a version was made, with SLSA's predicate: https://slsa.dev/spec/v1.0/provenance.

It has no time stamps: the run has them. What was made from the same inputs has the same statement but for the
run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proto_model import __version__
from proto_model.registry.model_folder import BUNDLE
from proto_model.registry.provenance.origin import Origin
from proto_model.registry.publishing.manifest import PROVENANCE, STATEMENT_FILE
from proto_model.registry.tracking import without_folder
from proto_model.table import TrainingData

__all__ = ["PROVENANCE", "STATEMENT_FILE", "provenance_statement"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:proto-model:training:1"


def provenance_statement(
    bundle: Path,
    data: TrainingData,
    origin: Origin,
    parameters: Mapping[str, str],
    chosen: Mapping[str, Any],
    metrics: Mapping[str, float],
    run_id: str,
) -> dict[str, Any]:
    """Statement about the files of a bundle.

    `parameters` are the settings of the run, `chosen` what the search chose, and `metrics` those on the
    test rows.
    """
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": (BUNDLE / path.relative_to(bundle)).as_posix(),
                "digest": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            }
            for path in files
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {name: without_folder(value) for name, value in parameters.items()},
                "internalParameters": {name: str(value) for name, value in chosen.items()},
                "resolvedDependencies": _inputs(data, origin),
            },
            "runDetails": {
                "builder": {
                    "id": "urn:proto-model:trainer",
                    "version": {"proto-model-turbo": __version__, **origin.versions, **origin.machine},
                },
                "metadata": {"invocationId": run_id},
                "byproducts": [
                    {"name": "test metrics", "annotations": {key: repr(one) for key, one in metrics.items()}}
                ],
            },
        },
    }


def _inputs(data: TrainingData, origin: Origin) -> list[dict[str, Any]]:
    """Data, code and libraries, as in-toto describes resources."""
    inputs: list[dict[str, Any]] = [
        {
            "name": "training rows",
            "digest": {"sha256": origin.training_data},
            "annotations": {"dataset": data.name, "rows": len(data.y_train)},
        },
        {
            "name": "test rows",
            "digest": {"sha256": origin.test_data},
            "annotations": {
                "rows": len(data.y_test),
                "split_by": data.split_by.rule,
                "split_digest": data.split_digest,
                "schema_digest": data.schema.digest,
            },
        },
        {"name": "proto_model", "digest": {"sha256": origin.code}},
        {"name": "installed libraries", "digest": {"sha256": origin.libraries}},
    ]
    if data.schema.dictionary:
        told = json.dumps(data.schema.to_dict()["dictionary"], sort_keys=True)
        digest = hashlib.sha256(told.encode()).hexdigest()
        inputs.append({"name": "data dictionary", "digest": {"sha256": digest}})
    if origin.lock:
        inputs.append({"name": "uv.lock", "digest": {"sha256": origin.lock}})
    if origin.commit:
        inputs.append(
            {
                "name": "repository",
                **({"uri": f"git+{origin.repository}"} if origin.repository else {}),
                "digest": {"gitCommit": origin.commit},
                "annotations": {"dirty": origin.is_dirty},
            }
        )
    return inputs
