"""What a package holds, and where.

| name                    | holds                                                                       |
|-------------------------|-----------------------------------------------------------------------------|
| `interface.py`          | `load_model()`                                                              |
| `requirements.txt`      | what it needs, pinned, and this project's own wheel                         |
| `setup.sh`              | makes an environment with that                                              |
| `metadata.yaml`         | what the model is, takes and gives                                          |
| `example.csv`           | rows that are nobody's, and what the model says to them                     |
| `README.md`             | how to use it                                                               |
| `MANIFEST.sha256`       | the SHA-256 of all others, as sha256sum writes and reads it                 |
| `artifacts/model/`      | the version's folder, as the registry gives it                              |
| `artifacts/version.json`| what the registry says of the version: `facts`                              |
| `artifacts/publication/`| manifest and signatures of a published version                              |
| `artifacts/provenance/` | where the version comes from                                                |
| `artifacts/*.whl`       | this project                                                                |
"""

from proto_model.registry.model_folder import BUNDLE

INTERFACE = "interface.py"
REQUIREMENTS = "requirements.txt"
SETUP = "setup.sh"
METADATA = "metadata.yaml"
EXAMPLE = "example.csv"
README = "README.md"
MANIFEST = "MANIFEST.sha256"

ARTIFACTS = "artifacts"
MODEL = f"{ARTIFACTS}/model"
MODEL_BUNDLE = f"{MODEL}/{BUNDLE.as_posix()}"
VERSION = f"{ARTIFACTS}/version.json"
CARD = f"{ARTIFACTS}/model_card.md"
PUBLICATION = f"{ARTIFACTS}/publication"
PROVENANCE = f"{ARTIFACTS}/provenance"

LEFT_ALONE = (".venv", "__pycache__")
"""What using a package leaves beside its files; nothing of it is ever read."""
