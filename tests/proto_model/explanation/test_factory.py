import sys

import pytest

from proto_model.errors import InputError
from proto_model.explanation import make_explainer


def test_an_unknown_engine_is_refused_with_the_known_ones(schema, rows, model):
    with pytest.raises(InputError, match="'lime' given, one of lore, lore_sa"):
        make_explainer("lime", schema, rows, model)


def test_an_engine_whose_library_is_missing_says_what_to_install(schema, rows, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "lore_sa", None)

    with pytest.raises(InputError, match=r"not installed.*proto-model-turbo\[lore-sa\].*engine 'lore'"):
        make_explainer("lore_sa", schema, rows, model)
