"""The columns of a signature, which tell of a model's rows and are not to check them.

MLflow would check columns of these types with less to say than `proto_model.model.rows`, and change values on
the way: "false" to true, 3.7 to 3. Columns of any type would refuse CSV and be slower. So a model that MLflow
has loaded has no input columns to check by; its `MLmodel` names them, for people, for the registry and for
Spark.
"""

from __future__ import annotations

import inspect
from types import FrameType

import mlflow.pyfunc


def leave_rows_unchecked() -> None:
    """Have `mlflow.pyfunc.load_model`, if that is what calls, hand over rows as they come.

    It reads `MLmodel` before it calls the model's code, checks rows by what it has read, and passes that on
    to nobody; so it is taken from the caller's frame. Only this copy of the metadata is changed. A KeyError
    says that MLflow loads models in another way than the versions that this one is made for: better no model
    than one whose values are changed.
    """
    load_model = inspect.unwrap(mlflow.pyfunc.load_model).__code__
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and frame.f_code is not load_model:
        frame = frame.f_back
    if frame is not None:
        frame.f_locals["model_meta"].signature.inputs = None
