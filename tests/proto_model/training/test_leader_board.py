import io

import pytest
from matplotlib.image import imread
from rich.console import Console

from proto_model.plotting import save
from proto_model.training import leader_board
from proto_model.training.leader_board import Standing


def standing(variant, score, test=0.5):
    return Standing(variant, f"run-{variant}", score, 0.01, {"balanced_accuracy": test, "recall/a": 0.1}, 1.0)


def test_cross_validation_ranks_and_the_test_rows_do_not():
    ranked = leader_board.ranked([standing("a", 0.8, test=0.99), standing("b", 0.9, test=0.1)])

    assert [entry.variant for entry in ranked] == ["b", "a"]


def test_equal_scores_keep_their_order():
    ranked = leader_board.ranked([standing(name, 0.9) for name in ("c", "a", "b")])

    assert [entry.variant for entry in ranked] == ["c", "a", "b"]


def test_the_frame_leaves_out_figures_of_single_classes():
    frame = leader_board.frame([standing("a", 0.9), standing("b", 0.8)])

    assert frame["rank"].tolist() == [1, 2]
    assert "test_balanced_accuracy" in frame.columns
    assert not any("/" in name for name in frame.columns)


def test_names_are_never_cut_and_undefined_figures_have_a_dash():
    out = io.StringIO()
    Console(file=out, width=110).print(
        leader_board.rich_table([standing("random_forest_balanced", 0.9)], "Leader board")
    )

    assert "random_forest_balanced" in out.getvalue()
    assert "0.9000 ± 0.0100" in out.getvalue()
    assert " - " in out.getvalue()
    assert "| random_forest_balanced | 0.9000 ± 0.0100 | 0.5000 | - |" in leader_board.markdown(
        [standing("random_forest_balanced", 0.9)]
    )


@pytest.mark.parametrize("n_variants", [1, 3])
def test_the_figure_names_every_variant(n_variants, tmp_path):
    names = ["extra_trees", "random_forest", "random_forest_balanced"][:n_variants]
    figure = leader_board.figure([standing(name, 0.95, test=0.94) for name in names])
    save(figure, tmp_path / "plot.png")

    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert imread(tmp_path / "plot.png")[..., :3].std() > 0.01
