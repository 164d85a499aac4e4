import io
import warnings

from rich.console import Console

from proto_model.registry.noise import warnings_shown_once


def test_a_warning_is_shown_once_on_one_line_without_the_code_it_came_from():
    out = io.StringIO()

    with warnings_shown_once(Console(file=out, width=40)):
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("\x1b[33mfew rows [of\n class] b\x1b[0m", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)

    assert out.getvalue() == "warning: few rows [of class] b\nwarning: another\n"


def test_missing_glyphs_are_one_warning_and_many_classes_in_few_rows_none():
    out = io.StringIO()

    with warnings_shown_once(Console(file=out)):
        warnings.filterwarnings("always", "Glyph")
        for sign in ("12354 (\\N{HIRAGANA LETTER A})", "12356 (\\N{HIRAGANA LETTER I})"):
            warnings.warn(f"Glyph {sign} missing from font(s) DejaVu Sans.", UserWarning, stacklevel=1)
        warnings.warn("The number of unique classes is greater than 50% of ...", UserWarning, stacklevel=1)

    assert out.getvalue() == (
        "warning: characters that the font DejaVu Sans lacks are boxes in the figures\n"
    )
