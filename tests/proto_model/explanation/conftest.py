import json
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from proto_model.explanation import make_explainer
from proto_model.schema import Feature, ModelSchema

SCHEMAS = Path(__file__).parents[3] / "schemas"


@dataclass(frozen=True)
class Loan:
    """A model known by heart: grants loans by income, debts, colour and age; a missing income counts as 0."""

    sharpness: float = 4.0

    def __call__(self, X):
        income, children, owner, colour, age = np.nan_to_num(X.T, nan=-1.0)
        score = (
            (income - 40) / 10 + 1.5 * (owner == 1) + 1.0 * (colour == 2) - 0.4 * children + (age > 50) * 0.5
        )
        p = 1 / (1 + np.exp(-self.sharpness * score.clip(-50, 50)))
        return np.stack([1 - p, p], axis=1)


@dataclass(frozen=True)
class Always:
    """A model that gives every row the same class."""

    n_classes: int = 2

    def __call__(self, X):
        return np.tile(np.eye(self.n_classes)[0], (len(X), 1))


def loan_schema():
    return ModelSchema(
        model_name="loan",
        target="granted",
        target_type="string",
        classes=("no", "yes"),
        features=(
            Feature("income", "double", True, minimum=0.0, maximum=100.0, median=45.0),
            Feature("children", "long", False, minimum=0.0, maximum=6.0, median=1.0),
            Feature("owner", "boolean", False, minimum=0.0, maximum=1.0, median=0.0),
            Feature("colour", "string", True, categories=("blue", "green", "red"), most_frequent="blue"),
            Feature("age", "long", False, minimum=18.0, maximum=90.0, median=40.0),
        ),
    )


def loan_rows(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    X = np.stack(
        [
            rng.uniform(0, 100, n_rows).round(1),
            rng.integers(0, 7, n_rows),
            rng.integers(0, 2, n_rows),
            rng.integers(0, 3, n_rows),
            rng.integers(18, 91, n_rows),
        ],
        axis=1,
    ).astype(np.float64)
    X[rng.random(n_rows) < 0.1, 0] = np.nan
    X[rng.random(n_rows) < 0.1, 3] = np.nan
    return X


@pytest.fixture(scope="session")
def schema():
    return loan_schema()


@pytest.fixture(scope="session")
def rows():
    return loan_rows(400)


@pytest.fixture(scope="session")
def model():
    return Loan()


@pytest.fixture(scope="session")
def explainer(schema, rows, model):
    return make_explainer("lore", schema, rows, model)


@pytest.fixture(scope="session")
def constant_model():
    return Always()


@pytest.fixture(scope="session")
def check():
    """Holds an explanation to the JSON Schema, by way of strict JSON, and gives it back."""
    validator = jsonschema.Draft202012Validator(json.loads((SCHEMAS / "explanation.schema.json").read_text()))

    def checked(explanation):
        text = json.dumps(explanation, allow_nan=False)
        again = json.loads(text)
        assert again == explanation
        assert len(text.encode()) < 10_000
        validator.validate(again)
        assert np.isclose(sum(again["feature_importances"].values()), 1) or not any(
            again["feature_importances"].values()
        )
        return again

    return checked
