"""Smart tags: the comments by which a model source says what its functions are for.

| comment                              | says                                                          |
|--------------------------------------|---------------------------------------------------------------|
| `# modelop.init`, `.score`, `.metrics`, `.training` | what the function below it is for              |
| `# modelop.schema.0: input.avsc`     | an Avro schema; even numbers are of the input, odd of the output |

A source without a tag for a function may have it by its usual name, as in `USUAL_NAMES`.
"""

from __future__ import annotations

import difflib
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from proto_model.sources.errors import SourceError

ROLES = ("init", "score", "metrics", "training")
USUAL_NAMES = {"init": "begin", "score": "action", "metrics": "metrics", "training": "train"}

_TAG = re.compile(r"#\s*modelop\.(?P<words>\S+)\s*(?P<rest>.*)", re.DOTALL)
_SCHEMA = re.compile(r"schema\.(?P<slot>\d{1,3})")


@dataclass(frozen=True)
class RoleTag:
    """What the function below a line is for."""

    role: str
    line: int


@dataclass(frozen=True)
class SchemaTag:
    """The name of an Avro schema's file, and which of input and output it is for."""

    slot: int
    name: str
    line: int


def read_tags(text: str, shown: str) -> Iterator[RoleTag | SchemaTag]:
    """Tags of a source, in order; `shown` is what messages call it.

    Tags of ModelOp's that say nothing about functions and schemas are passed over.
    """
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        match = _TAG.match(token.string) if token.type == tokenize.COMMENT else None
        if match is not None:
            tag = _read(match["words"], match["rest"].strip(), token.start[0], shown)
            if tag is not None:
                yield tag


def _read(words: str, rest: str, line: int, shown: str) -> RoleTag | SchemaTag | None:
    word, colon, after = words.partition(":")
    value = f"{after}{rest}".strip() if colon else rest.removeprefix(":").strip()
    if word in ROLES:
        return RoleTag(word, line)
    schema = _SCHEMA.fullmatch(word)
    if schema is not None:
        if not value:
            raise SourceError(
                f"{shown}, line {line}: the tag names no schema. Write: # modelop.{word}: input.avsc"
            )
        return SchemaTag(int(schema["slot"]), value, line)
    near = difflib.get_close_matches(word, [*ROLES, "schema.0", "schema.1"], 1, 0.75)
    if near:
        raise SourceError(
            f"{shown}, line {line}: there is no tag modelop.{word}. Write modelop.{near[0]}, or remove it."
        )
    return None
