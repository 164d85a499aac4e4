"""The model of this package.

    from interface import load_model

    model = load_model()
    model.predict(rows)          # labels
    model.predict_proba(rows)    # a column per class, in the order of model.classes_
    model.explain(rows)          # a rule and counterfactuals per row

`rows` is a pandas data frame, a dict of columns, or a list of dicts. `sh setup.sh` installs what this needs;
`python interface.py` predicts the rows of example.csv and compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proto_model.deployment.package import PackagedModel

_HERE = Path(__file__).resolve().parent


def load_model() -> PackagedModel:
    """The model; a warning lists installed versions that are not those it was packaged with."""
    try:
        from proto_model.deployment.package import load_package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed in this environment. Type: sh {_HERE / 'setup.sh'}",
            name=error.name,
        ) from error
    return load_package(_HERE)


def main() -> int:
    """Predict the rows of example.csv, and compare; 0 if all is as it was when the package was made."""
    model = load_model()
    from proto_model.deployment.package import self_test

    found = self_test(_HERE, model)
    print("\n".join(found.lines))
    return 0 if found.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
