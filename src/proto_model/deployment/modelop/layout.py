"""What the folder of an exported source holds, and where.

| name                  | holds                                                                 |
|-----------------------|-----------------------------------------------------------------------|
| `model_source.py`     | the source: init, score, metrics and training                         |
| `attachment.zip`      | the version as `python -m proto_model package --zip` writes it        |
| `input.avsc`, `output.avsc` | Avro schemas of a record, and of what is given for it           |
| `requirements.txt`    | what it needs, pinned, and this project's own wheel                   |
| `artifacts/*.whl`     | this project                                                          |
| `README.md`           | how to use it                                                         |
"""

SOURCE = "model_source.py"
ATTACHMENT = "attachment.zip"
INPUT_SCHEMA = "input.avsc"
OUTPUT_SCHEMA = "output.avsc"
REQUIREMENTS = "requirements.txt"
README = "README.md"
