"""What `mlserver start`, and so `mlflow models serve --enable-mlserver`, needs in the folder of a version.

That flag, which MLflow had up to 3.12, starts MLServer on the version's folder with one worker process and
a runtime for any MLflow model, which fails for a signature without columns. Files beside `MLmodel` take
precedence over both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODEL_SETTINGS = "model-settings.json"
SETTINGS = "settings.json"

# MLServer's worker processes are slower for a model as quick as this one, and with `debug` it would write
# a line per request, which takes half of the time.
SERVER: dict[str, Any] = {"parallel_workers": 0, "debug": False}
IMPLEMENTATION = "runtime.ForestRuntime"

_RUNTIME = '''"""MLServer runtime of the model in this folder, from the model's own code."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent{below} / "code"))

from proto_model.serving.mlserver.runtime import ForestRuntime  # noqa: E402, F401
'''


def write_mlserver_files(model: Path, model_name: str) -> None:
    """Write settings and runtime into the folder of a logged model; limits are the defaults."""
    settings = {"name": model_name, "implementation": IMPLEMENTATION, "parameters": {"uri": "."}}
    for name, content in ((MODEL_SETTINGS, settings), (SETTINGS, SERVER)):
        (model / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (model / "runtime.py").write_text(runtime_text(), encoding="utf-8")


def runtime_text(*model: str) -> str:
    """Module that MLServer imports; `model` leads from its folder to that of the logged model."""
    return _RUNTIME.format(below="".join(f' / "{part}"' for part in model))
