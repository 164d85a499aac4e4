import io
import warnings

from rich.console import Console

from proto_model.experiment.noise import warnings_shown_once


def test_a_warning_is_shown_once_on_one_line_without_the_code_it_came_from():
    out = io.StringIO()

    with warnings_shown_once(Console(file=out, width=40)):
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("\x1b[33mfew rows [of\n class] b\x1b[0m", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)

    assert out.getvalue() == "warning: few rows [of class] b\nwarning: another\n"
