"""The parser of every command: what is wrong is said in one sentence, and where help is in a second one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NoReturn

PREFIX = "error: "
"""Of every sentence that says why a command did not do what it was asked to."""

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

# argparse's sentences, and what they say here.
WORDINGS = (
    (re.compile(r"the following arguments are required: (.+)"), r"\1 is missing"),
    (re.compile(r"argument (\S+): not allowed with argument (\S+)"), r"\1 and \2 do not go together"),
    (re.compile(r"argument (\S+): expected (?:one|at least one) argument"), r"\1 needs a value"),
    (re.compile(r"argument (.+?): invalid int value: (.+)"), r"\1: \2 given, a whole number expected"),
    (re.compile(r"argument (.+?): invalid float value: (.+)"), r"\1: \2 given, a number expected"),
    (re.compile(r"argument (.+)"), r"\1"),
)
CHOICE = re.compile(r"argument (?P<what>.+?): invalid choice: '(?P<given>.*)' \(choose from (?P<known>.+)\)")


class CommandParser(argparse.ArgumentParser):
    """Parser of a command or of one of its actions."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Arguments as a namespace; options that are not known end the program."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            near = get_close_matches(name, sorted(set(options_of(self))), 1)
            meant = f". Did you mean {near[0]}?" if near else ""
            is_option = name.startswith("-")
            self.error(
                f"there is no option {name}{meant}" if is_option else f"{name!r} is one argument too many"
            )
        return parsed

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; end with 2."""
        tell(f"{worded(message)}. For help, type: {self.prog} --help")
        sys.exit(WRONG)


def tell(text: str) -> None:
    """Write why a command ends to stderr."""
    print(f"{PREFIX}{text}", file=sys.stderr, flush=True)


def worded(message: str) -> str:
    """A sentence of argparse's in the words of the other messages."""
    choice = CHOICE.fullmatch(message)
    if choice:
        known = re.findall(r"'([^']*)'", choice["known"]) or choice["known"].split(", ")
        near = get_close_matches(choice["given"], known, 1)
        meant = f"Did you mean {near[0]}? " if near else ""
        return f"{choice['what']}: there is no {choice['given']!r}. {meant}There are: {', '.join(known)}"
    for pattern, words in WORDINGS:
        if pattern.fullmatch(message):
            return pattern.sub(words, message)
    return message


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Options of a parser and of its actions."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options_of(below)
