"""The expressions of a mapping: a small language with Python's syntax, typed when it is read.

Python's own parser reads the text; of what it gives, only the forms below are taken, each with a type. So a
mistake shows when the mapping is written, and an expression that was taken can fail on a row in few ways: a
division by zero, a number without bounds, a text that is no date or too long. Nothing is ever handed to
Python's `eval`. An operation on a missing value gives a missing value.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mapper.application.functions import (
    COMPARISONS,
    FUNCTIONS,
    MAX_NUMBER,
    OPERATORS,
    SPECIAL,
    Kind,
    Value,
    finite,
    short,
    spelled,
)
from mapper.errors import MapperError, shown, suggestion

Evaluate = Callable[[Mapping[str, Value]], Value]

MAX_CHARACTERS = 1000
MAX_PARTS = 200
MAX_DEPTH = 20


class ExpressionError(MapperError):
    """An expression is not of the language, or its types do not fit."""


class Typed(NamedTuple):
    """A part of an expression: its type (None if it is always missing), and what computes it."""

    kind: Kind | None
    evaluate: Evaluate


@dataclass(frozen=True)
class Expression:
    """A checked expression: `names` are the fields it reads, `kind` is None if it is always missing."""

    source: str
    kind: Kind | None
    names: tuple[str, ...]
    evaluate: Evaluate = field(repr=False)

    def value(self, record: Mapping[str, Value]) -> Value:
        """Value for a record that has all the fields; raises NotComputableError if there is none.

        Examples
        --------
        >>> parse("weight / 1000 if weight > 0 else None", {"weight": "number"}).value({"weight": 4200})
        4.2
        """
        return self.evaluate(record)


def parse(source: str, kinds: Mapping[str, Kind]) -> Expression:
    """Expression over fields of these types; raises ExpressionError, which says what is not taken."""
    if len(source) > MAX_CHARACTERS:
        raise ExpressionError(f"{len(source)} characters given; the limit is {MAX_CHARACTERS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is refused below
            tree = ast.parse(source.strip(), mode="eval")
        n_parts = sum(1 for _ in ast.walk(tree))
    except SyntaxError as error:
        where = f" (character {error.offset})" if error.offset else ""
        raise ExpressionError(f"not an expression: {error.msg}{where}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte; too deep for Python's parser
        raise ExpressionError("not an expression, or nested too deeply") from error
    if n_parts > MAX_PARTS:
        raise ExpressionError("too long: split it into several fields")
    compiler = _Compiler(kinds, source.strip())
    kind, evaluate = compiler.compile(tree.body, 0)
    return Expression(source.strip(), kind, tuple(compiler.names), evaluate)


class _Compiler:
    """Turns the parts of a syntax tree into typed functions."""

    def __init__(self, kinds: Mapping[str, Kind], source: str) -> None:
        self._kinds = kinds
        self._source = source
        self.names: dict[str, None] = {}

    def compile(self, node: ast.AST, depth: int) -> Typed:
        if depth > MAX_DEPTH:
            raise ExpressionError("nested too deeply")
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise ExpressionError(
                f"{type(node).__name__} is not part of the language: numbers, texts, fields, "
                f"+ - * / // % **, comparisons, `in`, and, or, not, `a if test else b`, and {_names()}"
            )
        found: Typed = method(node, depth + 1)
        return found

    def _of(self, node: ast.AST, depth: int, kind: Kind, what: str) -> Evaluate:
        """A part that has to be of a type."""
        found = self.compile(node, depth)
        if found.kind not in (kind, None):
            raise ExpressionError(f"{what} takes a {kind}, and `{ast.unparse(node)}` is a {found.kind}")
        return found.evaluate

    def _constant(self, node: ast.Constant, _: int) -> Typed:
        value: Any = node.value
        if value is None:
            return Typed(None, lambda _: None)
        if isinstance(value, bool):
            return Typed("boolean", lambda _: value)
        if isinstance(value, int | float) and -MAX_NUMBER <= value <= MAX_NUMBER:
            number = float(value)
            return Typed("number", lambda _: number)
        if isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value):
            return Typed("text", lambda _: value)
        raise ExpressionError(f"{shown(value)} is not a number, a text, True, False or None")

    def _name(self, node: ast.Name, _: int) -> Typed:
        # As it is written: Python reads ﬁeld as field, which may be the name of another field.
        return self._field(ast.get_source_segment(self._source, node) or node.id)

    def _field(self, name: str) -> Typed:
        kind = self._kinds.get(name)
        if kind is None:
            raise ExpressionError(f"there is no {shown(name)}; {suggestion(name, self._kinds)}")
        self.names[name] = None
        if kind == "number":

            def read(record: Mapping[str, Value]) -> Value:
                value = record[name]
                return None if value is None else finite(float(value))

            return Typed(kind, read)
        return Typed(kind, lambda record: record[name])

    def _unaryop(self, node: ast.UnaryOp, depth: int) -> Typed:
        if isinstance(node.op, ast.Not):
            test = self._of(node.operand, depth, "boolean", "not")
            return Typed("boolean", _lifted(lambda a: not a, test))
        if isinstance(node.op, ast.USub | ast.UAdd):
            number = self._of(node.operand, depth, "number", "a sign")
            return Typed("number", _lifted(lambda a: -a, number) if isinstance(node.op, ast.USub) else number)
        raise ExpressionError("~ is not part of the language")

    def _binop(self, node: ast.BinOp, depth: int) -> Typed:
        if type(node.op) not in OPERATORS:
            raise ExpressionError(f"{type(node.op).__name__} is not part of the language")
        sign, compute = OPERATORS[type(node.op)]
        if isinstance(node.op, ast.Add):
            left, right = self.compile(node.left, depth), self.compile(node.right, depth)
            if left.kind == right.kind == "text":
                return Typed("text", _lifted(lambda a, b: short(a + b), left.evaluate, right.evaluate))
        parts = [self._of(part, depth, "number", sign) for part in (node.left, node.right)]
        return Typed("number", _lifted(compute, *parts))

    def _boolop(self, node: ast.BoolOp, depth: int) -> Typed:
        is_and = isinstance(node.op, ast.And)
        parts = [self._of(part, depth, "boolean", "and" if is_and else "or") for part in node.values]

        def evaluate(record: Mapping[str, Value]) -> Value:
            """The first part that decides; missing if none does and one is missing."""
            result: Value = is_and
            for part in parts:
                value = part(record)
                if value is not None and value is not is_and:
                    return value
                result = result if value is not None else None
            return result

        return Typed("boolean", evaluate)

    def _compare(self, node: ast.Compare, depth: int) -> Typed:
        if len(node.ops) > 1:
            raise ExpressionError("write `a < b and b < c` for `a < b < c`")
        [operator], [other] = node.ops, node.comparators
        left = self.compile(node.left, depth)
        if isinstance(operator, ast.In | ast.NotIn):
            among = self._constants(other, left.kind)
            wanted = isinstance(operator, ast.In)
            return Typed("boolean", _lifted(lambda a: (a in among) == wanted, left.evaluate))
        if type(operator) not in COMPARISONS:
            raise ExpressionError("`is` is not part of the language; use == or missing(x)")
        right = self.compile(other, depth)
        if None in (left.kind, right.kind):
            raise ExpressionError("a comparison with None is always missing; use missing(x)")
        if left.kind != right.kind:
            raise ExpressionError(f"a {left.kind} is compared with a {right.kind} in `{ast.unparse(node)}`")
        return Typed("boolean", _lifted(COMPARISONS[type(operator)], left.evaluate, right.evaluate))

    def _constants(self, node: ast.AST, kind: Kind | None) -> frozenset[Value]:
        if not isinstance(node, ast.Tuple | ast.List | ast.Set):
            raise ExpressionError("`in` takes a list of constants, such as ['a', 'b']")
        found = [self._constant(part, 0) for part in node.elts if isinstance(part, ast.Constant)]
        if len(found) < len(node.elts) or any(part.kind != kind for part in found):
            raise ExpressionError(f"`in` takes a list of constants, each a {kind}")
        return frozenset(part.evaluate({}) for part in found)

    def _ifexp(self, node: ast.IfExp, depth: int) -> Typed:
        test = self._of(node.test, depth, "boolean", "if")
        yes, no = self.compile(node.body, depth), self.compile(node.orelse, depth)
        kind = _common("if and else", [yes, no])

        def evaluate(record: Mapping[str, Value]) -> Value:
            passed = test(record)
            return None if passed is None else (yes if passed else no).evaluate(record)

        return Typed(kind, evaluate)

    def _call(self, node: ast.Call, depth: int) -> Typed:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS and name not in SPECIAL:
            hint = suggestion(name, sorted([*FUNCTIONS, *SPECIAL]))
            raise ExpressionError(f"there is no function `{ast.unparse(node.func)}`; {hint}")
        if node.keywords or any(isinstance(part, ast.Starred) for part in node.args):
            raise ExpressionError(f"{name} takes values only, without names or *")
        if name in SPECIAL:
            return self._special(name, node.args, depth)
        kinds, result, compute, least, repeats = FUNCTIONS[name]
        most = math.inf if repeats else len(kinds)
        if not least <= len(node.args) <= most:
            counts = f"{least} or more" if repeats else " to ".join(map(str, sorted({least, len(kinds)})))
            raise ExpressionError(f"{name} takes {counts} value(s), {len(node.args)} given")
        expected = kinds * len(node.args) if repeats else kinds
        parts = [self._of(part, depth, kind, name) for part, kind in zip(node.args, expected, strict=False)]
        return Typed(result, _lifted(compute, *parts))

    def _special(self, name: str, given: list[ast.expr], depth: int) -> Typed:
        if name == "field":
            constant = given[0] if len(given) == 1 else None
            if not isinstance(constant, ast.Constant) or not isinstance(constant.value, str):
                raise ExpressionError("field takes the name of a field as text: field('mean radius')")
            return self._field(constant.value)
        parts = [self.compile(part, depth) for part in given]
        if not parts or (name != "coalesce" and len(parts) > 1):
            raise ExpressionError(f"{name} takes {'1 or more values' if name == 'coalesce' else '1 value'}")
        first = parts[0].evaluate
        if name == "missing":
            return Typed("boolean", lambda record: first(record) is None)
        if name == "text":
            return Typed("text", _lifted(spelled, first))
        evaluates = [part.evaluate for part in parts]

        def coalesce(record: Mapping[str, Value]) -> Value:
            return next((value for part in evaluates if (value := part(record)) is not None), None)

        return Typed(_common("coalesce", parts), coalesce)


def _lifted(compute: Callable[..., Value], *parts: Evaluate) -> Evaluate:
    """A function of values that gives a missing value when one of them is missing."""

    def evaluate(record: Mapping[str, Value]) -> Value:
        values = [part(record) for part in parts]
        return None if None in values else compute(*values)

    return evaluate


def _common(what: str, parts: list[Typed]) -> Kind | None:
    kinds = {part.kind for part in parts} - {None}
    if len(kinds) > 1:
        raise ExpressionError(f"{what} give different types: {' and '.join(sorted(map(str, kinds)))}")
    return next(iter(kinds), None)


def _names() -> str:
    return ", ".join(sorted([*FUNCTIONS, *SPECIAL]))
