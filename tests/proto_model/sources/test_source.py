"""What the tags of a source say."""

from pathlib import Path

import pytest

from proto_model.sources import Source, SourceError
from proto_model.sources.source import identity

WHOLE = b'''
# modelop.schema.0: input.avsc
#modelop.schema.1 : output.avsc
import json

# modelop.init
def start():
    global model
    model = 1

# modelop.score
# what comes from the caller
@print
def one(x):
    yield x

def metrics(frame): yield {}

# modelop.slot.0: in-use
text = """
# modelop.training
"""
'''


def test_tags_and_usual_names_say_what_functions_are_for():
    source = Source.of(WHOLE)

    assert {role: one.name for role, one in source.functions.items()} == {
        "init": "start",
        "score": "one",
        "metrics": "metrics",
    }
    assert (source.input_schema, source.output_schema) == ("input.avsc", "output.avsc")


def test_without_tags_the_usual_names_count():
    names = ["begin", "action", "metrics", "train"]
    source = Source.of("".join(f"def {name}(x=0): pass\n" for name in names).encode())

    assert [one.name for one in source.functions.values()] == names


def test_a_tag_goes_before_a_usual_name():
    source = Source.of(b"def action(x): pass\n# modelop.score\ndef other(x): pass\n")

    assert source.function("score").name == "other"


def test_a_function_of_three_lists_of_files_is_for_spark():
    source = Source.of(b"# modelop.score\ndef f(input_files, output_files, model_attachment_files): pass\n")

    assert source.function("score").is_spark


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "line 1: this is not Python"),
        ("x = '\0'", "this is not Python"),
        ("(" * 500, "this is not Python"),
        ("# modelop.score\nx = 1\n", "line 1: no function follows # modelop.score"),
        ("# modelop.score\n", "line 1: no function follows"),
        ("class A:\n    # modelop.score\n    def f(self, x): pass\n", "line 2: no function follows"),
        ("# modelop.score\nasync def f(x): pass\n", "line 2: f is async"),
        ("# modelop.score\ndef f(): pass\n", "takes 0 arguments as the score function"),
        ("# modelop.score\ndef f(x, y): pass\n", "takes 2 arguments as the score function"),
        ("# modelop.score\ndef f(x, *, y): pass\n", "an argument that must be named"),
        ("# modelop.init\ndef f(x, y, z): pass\n", "takes 3 arguments as the init function"),
        (
            "# modelop.score\ndef f(x): pass\n# modelop.score\ndef g(x): pass\n",
            "line 3: modelop.score is there twice, first for f in line 2",
        ),
        ("# modelop.score\ndef f(x): pass\ndef f(x): pass\n", "line 3 defines f again"),
        ("# modelop.scoer\ndef f(x): pass\n", "line 1: there is no tag modelop.scoer. Write modelop.score"),
        ("# modelop.schema.0\n", "the tag names no schema"),
        ("# modelop.schema.0: a\n# modelop.schema.0: b\n", "line 2: modelop.schema.0 is there twice"),
        ("# modelop.schema.0: ../a\n", "leads to another folder"),
    ],
)
def test_faults_are_told_with_their_line(text, said):
    with pytest.raises(SourceError, match=r"^the source") as caught:
        Source.of(text.encode())
    assert said in str(caught.value)


def test_a_missing_function_is_told_with_what_there_is():
    with pytest.raises(SourceError, match=r"has no score function; it has init \(begin\)"):
        Source.of(b"def begin(): pass").function("score")


def test_a_source_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(SourceError, match="Cannot read the source"):
        Source.read(tmp_path / "none.py")


def test_code_files_and_schemas_make_the_identity():
    one, other = Source.of(b"def action(x): pass"), Source.of(b"def action(y): pass")
    known = {
        identity(one, {"m": "1"}, {"s": "1"}),
        identity(other, {"m": "1"}, {"s": "1"}),
        identity(one, {"m": "2"}, {"s": "1"}),
        identity(one, {"m": "1"}, {"s": "2"}),
        identity(one, {"n": "1"}, {"s": "1"}),
    }

    assert len(known) == 5
    assert identity(one, {"m": "1"}, {"s": "1"}) in known
