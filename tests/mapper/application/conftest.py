"""A mapping of the penguins in `tests/mapper/conftest.py`."""

import pytest

from mapper.application.model import MappedModel, check_mapping

MAPPING = """
mapping: 1
text: Which penguin was ringed
units:
  g: {factor: 0.001}
  "%": {factor: 1/100}
request:
  weight: {feature: mass, unit: g, text: on the scales}
  site: {feature: island, lookup: {BI: Biscoe, DR: Dream, Bi: Biscoe}}
  laid: {type: integer, minimum: 0, maximum: 9, default: 2}
  lost: {type: integer, example: 1}
features:
  ringed: {value: true}
  eggs: {expression: laid - lost}
answer:
  classes: {Adelie: A, Gentoo: G}
  fields:
    species: prediction
    certainty: {from: probability, unit: "%", digits: 1}
    shares: probabilities
    advice: {expression: "'look again' if probability_G < 0.8 else 'done'"}
    app: {value: ringing}
"""


@pytest.fixture(scope="session")
def mapped(schema) -> MappedModel:
    return check_mapping(MAPPING.encode(), schema)
