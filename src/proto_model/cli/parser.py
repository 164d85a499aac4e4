"""The parser of every command: what is wrong is said in one sentence, and where help is in a second one."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from proto_model.addresses import MAX_PORT, port_number
from proto_model.cli.exit_code import WRONG, tell

__all__ = ["CommandParser", "amount", "port"]

# argparse's sentences, and what they say here.
_WORDINGS = (
    (re.compile(r"the following arguments are required: (.+)"), r"\1 is missing"),
    (re.compile(r"argument (\S+): not allowed with argument (\S+)"), r"\1 and \2 do not go together"),
    (re.compile(r"argument (\S+): expected (?:one|at least one) argument"), r"\1 needs a value"),
    (re.compile(r"argument (.+?): invalid int value: (.+)"), r"\1: \2 given, a whole number expected"),
    (re.compile(r"argument (.+?): invalid float value: (.+)"), r"\1: \2 given, a number expected"),
    (re.compile(r"argument (.+)"), r"\1"),
)
_CHOICE = re.compile(r"argument (?P<what>.+?): invalid choice: '(?P<given>.*)' \(choose from (?P<known>.+)\)")


class CommandParser(argparse.ArgumentParser):
    """Parser of one command, named as it is typed after `python -m proto_model`; a module's text helps."""

    def __init__(self, command: str = "", doc: str | None = None, **options: Any) -> None:
        options.setdefault("prog", f"python -m proto_model {command}".rstrip())
        options.setdefault("description", doc)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Arguments as a namespace; the options that are not known end the program with the nearest ones."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(_unknown(unknown, sorted(set(_options(self)))))
        return parsed

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; end with 2."""
        tell(f"{_worded(message)}. For help, type: {self.prog} --help")
        sys.exit(WRONG)


def port(text: str) -> int:
    """Reader of a port, for argparse."""
    number = port_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} given, a port from 0 to {MAX_PORT} expected")
    return number


def amount(kind: Callable[[str], float], most: int) -> Callable[[str], float]:
    """Reader of a number above 0, of a kind such as `int`, for argparse."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if 0 < (number := kind(text)) <= most:
                return number
        what = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text!r} given, a {what} above 0 and up to {most:,} expected")

    return read


def _worded(message: str) -> str:
    choice = _CHOICE.fullmatch(message)
    if choice:
        known = re.findall(r"'([^']*)'", choice["known"]) or choice["known"].split(", ")
        near = get_close_matches(choice["given"], known, 1)
        meant = f"Did you mean {near[0]}? " if near else ""
        return f"{choice['what']}: there is no {choice['given']!r}. {meant}There are: {', '.join(known)}"
    for pattern, words in _WORDINGS:
        if pattern.fullmatch(message):
            return pattern.sub(words, message)
    return message


def _unknown(words: Sequence[str], known: Sequence[str]) -> str:
    """That there are no such options; what one of them may have been meant for."""
    first, *_ = words
    name = first.partition("=")[0]
    if not name.startswith("-"):
        return f"{first!r} is one argument too many"
    near = get_close_matches(name, known, 1)
    return f"there is no option {name}" + (f". Did you mean {near[0]}?" if near else "")


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Options of a parser and of its actions."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _options(below)
