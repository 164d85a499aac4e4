"""Train the model of an exported source anew: the same forest on other rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proto_model.deployment.modelop.layout import ATTACHMENT, INPUT_SCHEMA, OUTPUT_SCHEMA
from proto_model.deployment.modelop.measures import measures
from proto_model.deployment.modelop.schemas import input_schema, output_schema, schema_text
from proto_model.deployment.package.archive import write_zip
from proto_model.deployment.package.layout import MODEL_BUNDLE
from proto_model.errors import InputError
from proto_model.model import Bundle, write_bundle
from proto_model.schema import ModelSchema

if TYPE_CHECKING:
    from proto_model.table import TrainingData

TEST_SIZE = 0.2
_SEED = 0


def retrain(bundle: Bundle, rows: Any, folder: Path) -> dict[str, Any]:
    """Fit the version's forest on four fifths of the rows, and measure it on the others.

    The folder gets an attachment for the same source, and its schemas. Calibration and costs of the version
    are not carried over: they were found for its own rows. A DataError says why nothing can be learned.
    """
    try:
        import numpy as np

        from proto_model.table import encode
        from proto_model.training import VARIANTS, make_pipeline
        from proto_model.training.background import StoredBackground
    except ModuleNotFoundError as error:
        raise InputError(
            f'To train, {error.name} is needed. Install it with: pip install "proto-model-turbo[train]"'
        ) from error
    forest = bundle.pipeline.steps[-1][1]
    variant = next((v for v in VARIANTS.values() if type(forest) is v.forest), None)
    if variant is None:
        raise InputError(f"A {type(forest).__name__} is not one of the forests that this release trains.")
    data = _data(rows, bundle.schema)
    known = {"n_estimators", *variant.defaults, *variant.space}
    params = {name: value for name, value in forest.get_params().items() if name in known}
    pipeline = make_pipeline(variant, data.schema, _SEED, **params).fit(data.X_train, data.y_train)
    background = StoredBackground.of(data)
    with tempfile.TemporaryDirectory(prefix="proto_model-") as temporary:
        place = Path(temporary, "bundle")
        write_bundle(place, pipeline, background.described(data.schema), background.rows, background.kind)
        trained = Bundle.load(place)
        probabilities = trained.predict_proba(encode(data.X_test, data.schema))
        y = np.searchsorted(np.array(data.schema.classes), data.y_test)
        found = measures(trained, y, probabilities)
        files = {f"{MODEL_BUNDLE}/{path.name}": path.read_bytes() for path in place.iterdir()}
    write_zip(folder / ATTACHMENT, files)
    (folder / INPUT_SCHEMA).write_bytes(schema_text(input_schema(data.schema)))
    (folder / OUTPUT_SCHEMA).write_bytes(schema_text(output_schema(data.schema)))
    return {
        "variant": variant.name,
        "hyperparameters": params,
        "training_rows": len(data.y_train),
        "test_rows": len(data.y_test),
        "bundle_digest": trained.digest,
        "test": found,
    }


def _data(rows: Any, schema: ModelSchema) -> TrainingData:
    """The rows, split, with the version's features and target."""
    import pandas as pd
    import pyarrow as pa

    from proto_model.table import RawTable, Roles, prepare

    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    names = [*schema.feature_names, schema.target]
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(f"The rows have no column {missing[0]!r}, which the model learns from.")
    try:
        table = pa.Table.from_pandas(frame[names], preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"The rows hold values of several kinds in one column: {error}.") from error
    roles = Roles(features=tuple(schema.feature_names))
    return prepare(RawTable("rows", "rows", table), schema.target, TEST_SIZE, schema.model_name, roles)
