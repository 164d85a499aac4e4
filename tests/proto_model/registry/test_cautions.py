import io
import json
from types import SimpleNamespace

import mlflow
import pytest
from rich.console import Console

from proto_model.registry.cautions import (
    caution_tags,
    comparison_cautions,
    comparison_section,
    log_cautions,
    show_cautions,
    version_cautions,
)
from proto_model.registry.promotion.report import Side
from proto_model.table.caution import Caution

LEAK = Caution("leak", ("alive",), "`alive` is another copy of the target. Drop it: `-P drop=alive`.")
FEW = Caution("few_rows", (), "Few rows of <=50K.")


@pytest.fixture(scope="module")
def version(store):
    """A version whose run has both cautions."""
    with mlflow.start_run() as run:
        log_cautions([LEAK, FEW])
    tags = mlflow.get_run(run.info.run_id).data.tags
    return SimpleNamespace(version="3", run_id=run.info.run_id, tags={"cautions": tags["cautions"]})


def test_cautions_of_a_version_are_those_of_its_run(version):
    assert version.tags == caution_tags([LEAK, FEW]) == {"cautions": "leak,few_rows"}
    assert version_cautions(version) == (LEAK, FEW)
    assert caution_tags([]) == {}


def test_a_version_without_the_tag_has_none_and_one_without_the_file_has_its_kinds(version):
    old = SimpleNamespace(version="1", run_id=version.run_id, tags={})
    broken = SimpleNamespace(version="2", run_id="0" * 32, tags=version.tags)

    assert version_cautions(old) == ()
    assert [caution.kind for caution in version_cautions(broken)] == ["leak", "few_rows"]


def test_a_comparison_says_what_both_versions_share_once(version):
    challenger = json.loads(json.dumps({"version": "4", "cautions": [vars(LEAK)]}))
    champion = {"version": "3", "cautions": [vars(LEAK), vars(FEW)]}

    lines = comparison_cautions({"champion": champion, "challenger": challenger})

    assert lines == [f"Version 3 and version 4: leak: {LEAK.text}", f"Version 3: few rows: {FEW.text}"]
    assert "&lt;=50K" in comparison_section({"champion": champion, "challenger": challenger})[1]
    assert comparison_section({"champion": None, "challenger": {"version": "4"}}) == []
    assert Side.of(version).cautions == (LEAK, FEW)


def test_a_log_has_a_line_for_each_caution():
    out = io.StringIO()

    show_cautions([LEAK, FEW], Console(file=out, width=40))

    assert out.getvalue().splitlines() == ["Cautions (2)", f"  leak: {LEAK.text}", f"  few rows: {FEW.text}"]
