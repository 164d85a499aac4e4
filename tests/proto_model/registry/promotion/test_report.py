import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from proto_model.registry.promotion.comparison import compare
from proto_model.registry.promotion.decision import Attempt, Criteria, decide, decide_alone
from proto_model.registry.promotion.gate_verdicts import GateResult
from proto_model.registry.promotion.gates import parse_gates
from proto_model.registry.promotion.held_out import HeldOutRows
from proto_model.registry.promotion.report import (
    Evaluation,
    Report,
    Side,
    report_sentences,
    report_table,
    write_report,
)
from proto_model.registry.versions import Aliases
from proto_model.statistics import GateVerdict, Interval
from proto_model.table.split import HASH_COLUMN


def decided(counts, alone=False, outcome="promoted"):
    """A decision with gates of every outcome."""
    interval = Interval(0.9, 0.8, 0.95, 0.9)
    (first, second), (third,) = (
        parse_gates(["recall[kind | 0] >= .7; recall[kind | 1] >= .99"], "metric"),
        parse_gates(["roc_auc=.01"], "no_worse"),
    )
    gates = (
        GateResult(first, GateVerdict("passed", interval, 0.7, True, 100, None)),
        GateResult(second, GateVerdict("not enough rows", interval, 0.99, True, 100, 900)),
        GateResult(third, None),
    )
    asked = Criteria(allow_unsure=True)
    made = decide_alone("m", asked, gates) if alone else decide(counts, asked, Attempt(7, 0.02, "1"), gates)
    return replace(made, outcome=outcome, reason="Because.")


def report(n_classes=2, n_rows=200, *, alone=False, caveats=(), **changes):
    generator = np.random.default_rng(0)
    y = generator.integers(0, n_classes, n_rows)
    first, second = (
        np.where(generator.random(n_rows) < share, y, (y + 1) % n_classes) for share in (0.8, 0.9)
    )
    frame = pd.DataFrame({HASH_COLUMN: np.arange(n_rows, dtype=np.uint64)})
    comparison = compare(y, second if alone else first, second, n_classes)
    evaluation = Evaluation(
        rows=HeldOutRows(frame, n_rows + 7, 7, caveats),
        rows_run_id="run of the rows",
        classes=tuple(f"kind | {label}" for label in range(n_classes)),
        counts=comparison.counts,
        challenger_score=comparison.challenger_score,
        comparison=None if alone else comparison,
        predictions=frame,
    )
    values = {
        "model": "m",
        "decision": decided(comparison.counts, alone),
        "criteria": Criteria(0.01, 0.95),
        "champion": None if alone else Side("1", "a", "random_forest", "people", "rows", "d1"),
        "challenger": Side("2", "b", None, "people", "file", "d1"),
        "evaluation": evaluation,
        "aliases_before": Aliases("1", "2"),
        "aliases_after": None,
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
        "dry_run": False,
        "run_id": "c",
    }
    return Report(**values | changes)


@pytest.mark.parametrize("n_classes", [2, 3, 70])
@pytest.mark.parametrize("alone", [False, True])
def test_all_files_of_a_report_are_written_and_readable(tmp_path, n_classes, alone):
    write_report(report(n_classes, alone=alone), tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"

    content = json.loads((folder / "report.json").read_text())
    assert content["rows"]["compared"] == 200
    assert len(content["classes"]) == n_classes
    assert len(pd.read_parquet(folder / "predictions.parquet")) == 200
    with Image.open(folder / "comparison.png") as image:
        assert image.size[0] > (600 if alone else 1200)
    text = (folder / "report.md").read_text()
    assert ("and 20 more in" in text) == (n_classes == 70)


def test_the_cells_of_each_class_add_up_to_its_rows_and_give_the_scores():
    content = report(3).to_dict()
    cells = ("both_right", "champion_only_right", "challenger_only_right", "both_wrong")

    for item in content["classes"]:
        assert sum(item[cell] for cell in cells) == item["rows"]
    for role in ("champion", "challenger"):
        recalls = [item[f"{role}_recall"] for item in content["classes"]]
        assert content[role]["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_every_row_of_a_markdown_table_has_as_many_cells(tmp_path):
    write_report(report(3), tmp_path)
    text = (tmp_path / "report.md").read_text()

    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "kind \\| 0" in text


def test_caveats_are_in_the_report_and_in_the_terminal(tmp_path):
    doubtful = report(caveats=("Nobody knows.",))
    write_report(doubtful, tmp_path)

    assert "may have seen" in (tmp_path / "report.md").read_text()
    assert "Nobody knows." in (tmp_path / "report.md").read_text()
    assert "Nobody knows." in report_sentences(doubtful)
    assert not doubtful.to_dict()["rows"]["unseen_by_both"]


def test_a_report_without_evaluation_has_texts_only(tmp_path):
    bare = report(alone=True, evaluation=None)
    write_report(bare, tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md"}
    assert report_table(bare).row_count == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Version 2 becomes champion."),
        ({"dry_run": True}, "Version 2 would become champion."),
        ({"verdict": "kept"}, "Version 1 stays champion."),
        ({"verdict": "not_enough_rows"}, "Version 1 stays champion."),
        ({"verdict": "kept", "dry_run": True}, "Version 1 would stay champion."),
        ({"verdict": "kept", "champion": None}, "Version 2 does not become champion."),
    ],
)
def test_the_verdict_is_one_sentence(changes, sentence):
    made = report()
    verdict = changes.pop("verdict", "promoted")
    decision = replace(made.decision, outcome=verdict)
    assert report_sentences(report(**changes, decision=decision))[0] == f"{sentence} Because."


def test_evidence_gates_and_attempt_are_in_the_report_and_in_the_terminal(tmp_path):
    made = report()
    write_report(made, tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    text = (tmp_path / "report.md").read_text()
    console = Console(file=io.StringIO(), width=120)
    console.print(report_table(made))
    shown = console.file.getvalue()

    assert content["report_version"] == "2.0"
    assert content["evidence"]["p_better"] > 0.5
    assert content["evidence"]["p_better_asked"] == pytest.approx(1 - 0.05 * 0.02)
    assert [gate["verdict"] for gate in content["gates"]] == ["passed", "not enough rows", "not asked"]
    assert content["gates"][1]["rows_needed"] == 900
    assert content["attempt"] == {"number": 7, "share": 0.02, "champion": "1"}
    assert content["criteria"]["rule"] == "evidence"
    for part in (text, shown):
        assert "attempt since version 1 became champion" in part
        assert "not enough rows" in part
        assert "probability of being better" in part
    assert "0.800" in shown
    assert "| 900 |" in text


def test_models_that_agree_everywhere_can_be_drawn(tmp_path):
    y = np.array([0, 1, 0, 1])
    comparison = compare(y, y, y, 2)
    same = report()
    evaluation = Evaluation(**vars(same.evaluation) | {"comparison": comparison, "counts": comparison.counts})
    write_report(report(evaluation=evaluation), tmp_path)

    assert (tmp_path / "comparison.png").is_file()
