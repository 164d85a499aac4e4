"""What JPMML, in Java, answers for PMML documents; a program, for an environment that has it.

    python jpmml.py FOLDER

evaluates every `<name>.pmml` in FOLDER on the rows of `<name>.json`, and writes `<name>.answers.json`.
"""

import importlib
import json
import sys
from pathlib import Path

import pandas as pd


def main(folder: Path) -> None:
    jpmml = importlib.import_module("jpmml_evaluator")  # the environment of the tests does not have it
    for document in sorted(folder.glob("*.pmml")):
        rows = json.loads(document.with_suffix(".json").read_text(encoding="utf-8"))
        table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in rows.items()})
        answers = jpmml.make_evaluator(str(document), backend="jpype").verify().evaluateAll(table)
        content = {name: answers[name].tolist() for name in answers.columns}
        document.with_suffix(".answers.json").write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
