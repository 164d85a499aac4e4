"""What `metadata.yaml` takes from a data dictionary."""

import yaml

from proto_model.deployment.package.facts import VersionFacts
from proto_model.deployment.package.metadata import metadata_text
from proto_model.dictionary import Entry


def test_columns_and_target_are_described_as_in_the_dictionary(mixed_data):
    entries = {
        "income": Entry(description="Yearly income", unit="k€", author="Ada", protected=True),
        mixed_data.schema.target: Entry(description="Loan granted", decode=(("no", "turned down"),)),
    }

    metadata = yaml.safe_load(
        metadata_text(VersionFacts("people"), mixed_data.schema.with_dictionary(entries))
    )

    features = {feature.pop("name"): feature for feature in metadata["input_features"]}
    assert features["income"] == {
        "type": "double",
        "description": "Yearly income",
        "categories": None,
        "unit": "k€",
        "author": "Ada",
        "protected": True,
    }
    assert features["job"]["description"] == ""
    prediction, *others = metadata["output"]
    assert prediction["description"].startswith(f"{mixed_data.schema.target} (Loan granted), ")
    assert prediction["decode"] == {"no": "turned down"}
    assert not any("decode" in one for one in others)
