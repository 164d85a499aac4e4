import io

import pytest
from rich.console import Console

from proto_model.training import search_progress


def shown(*, terminal: bool) -> str:
    out = io.StringIO()
    with search_progress(Console(file=out, force_terminal=terminal, width=100)) as progress:
        for done in range(1, 11):
            progress("extra_trees", done, 10, float("nan") if done < 4 else 0.9 + done / 1000)
    return out.getvalue()


def test_without_a_terminal_there_are_four_plain_lines():
    assert shown(terminal=False).splitlines() == [
        "extra_trees: 3/10 fits",
        "extra_trees: 5/10 fits balanced accuracy 0.9050",
        "extra_trees: 8/10 fits balanced accuracy 0.9080",
        "extra_trees: 10/10 fits balanced accuracy 0.9100",
    ]


@pytest.mark.parametrize("text", ["extra_trees", "10/10", "balanced accuracy 0.9100"])
def test_a_terminal_gets_a_bar(text):
    assert text in shown(terminal=True)
