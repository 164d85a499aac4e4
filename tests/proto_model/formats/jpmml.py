"""What JPMML, in Java, answers for PMML documents; a program, for an environment that has it.

    python jpmml.py FOLDER

evaluates every `<name>.pmml` in FOLDER on the rows of `<name>.json`, and writes `<name>.answers.json`.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from jpmml_evaluator import make_evaluator

for document in sorted(Path(sys.argv[1]).glob("*.pmml")):
    rows = json.loads(document.with_suffix(".json").read_text(encoding="utf-8"))
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in rows.items()})
    evaluator = make_evaluator(str(document), backend="jpype").verify()
    answers = evaluator.evaluateAll(table)
    content = {name: answers[name].tolist() for name in answers.columns}
    document.with_suffix(".answers.json").write_text(json.dumps(content), encoding="utf-8")
