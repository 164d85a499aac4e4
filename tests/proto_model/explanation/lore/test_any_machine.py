"""Explanations are the same on every machine, whatever its CPU can do."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
from numpy._core import _multiarray_umath

from proto_model.explanation.lore.rule_search import _largest
from proto_model.model import Predictor

N_ROWS = 16
PROGRAM = """
import json, sys
from pathlib import Path
from proto_model.model import Bundle, Predictor
predictor = Predictor(Bundle.load(Path(sys.argv[1])))
rows = predictor.bundle.background[: int(sys.argv[2])]
print(json.dumps(predictor.explain(rows, predictor.parameters({"explain": True}))))
"""


def test_explanations_are_the_same_without_the_vectors_of_this_cpu(forest_model):
    # With AVX-512, NumPy's logarithm has other last bits, and its sorting leaves equals in another order.
    used = [name for name in _multiarray_umath.__cpu_dispatch__ if _multiarray_umath.__cpu_features__[name]]
    predictor = Predictor(forest_model)
    rows = forest_model.background[:N_ROWS]
    wanted = predictor.explain(rows, predictor.parameters({"explain": True}))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(forest_model.folder), str(N_ROWS)],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(used)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == json.loads(json.dumps(wanted))


def test_of_equal_values_the_first_are_among_the_largest():
    rng = np.random.default_rng(0)
    for n_rows in (1, 7, 300, 6000):
        values = rng.integers(0, 9, n_rows).astype(float)
        for n in {1, n_rows // 2 or 1, n_rows}:
            wanted = np.sort(np.argsort(-values, kind="stable")[:n])
            assert _largest(values, n).tolist() == wanted.tolist()
