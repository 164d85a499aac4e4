"""A bundle with anything changed is refused with a sentence, or answers as before."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

from tests.proto_model.model.mutations import SEALED, make_bundles

#: `make mutations` sets a thousand.
N_MUTATIONS = int(os.environ.get("MUTATIONS", "100"))
N_BATCH = 500


def _mutated(folder, first, last):
    command = [sys.executable, "-m", "tests.proto_model.model.mutations", str(folder), str(first), str(last)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    # A crash, or an alarm after too long a time, is that of the mutation behind the last line.
    assert run.returncode == 0, f"mutation {first + len(lines)}: {run.returncode} {run.stderr[-2000:]}"
    return lines


def test_a_changed_bundle_is_refused_with_a_sentence_or_answers_as_before(tmp_path):
    make_bundles(tmp_path)

    places = [*range(0, N_MUTATIONS, N_BATCH), N_MUTATIONS]
    lines = [line for first, last in pairwise(places) for line in _mutated(tmp_path, first, last)]

    kinds = Counter((line["mode"], line["verdict"].split(":")[0]) for line in lines)
    wrong = [
        line for line in lines if line["verdict"].split(":")[0] not in ("rejected", "identical", "consistent")
    ]
    assert not wrong, json.dumps(wrong[:20], indent=1)
    assert len(lines) == N_MUTATIONS
    assert kinds[SEALED, "rejected"] > 10
    assert not kinds[SEALED, "consistent"]
