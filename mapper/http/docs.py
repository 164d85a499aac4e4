"""The documentation page of a running service, written for the model that it serves."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from mapper.application.code import Form
from mapper.http.openapi import ROUTES
from mapper.http.problem import PROBLEMS
from mapper.http.renderer import ABSENT, SCRIPT, STYLE
from mapper.http.settings import MapperSettings
from mapper.mapping.answer import ANSWER_FIELDS, ROW_FIELDS
from mapper.mapping.model import TabularModel
from mapper.mapping.parameters import PARAMETERS
from mapper.mapping.schema import Feature, ModelSchema

LIMITS = (
    *("max_body_bytes", "max_rows", "body_timeout_s"),
    *("predict_timeout_s", "explain_timeout_s", "file_timeout_s"),
)


def docs_page(
    model: TabularModel,
    settings: MapperSettings,
    takes: str | None,
    url: str,
    form: Form | None = None,
    renderer: str = "",
) -> str:
    """HTML of the page; `takes` is `rows`, `file` or None, `url` where the reader found the service.

    `form` is the outside of an application's own class, if one maps the requests. `renderer` is the version
    of Swagger UI, which shows the routes where it is installed.
    """
    schema = model.schema
    version = model.answers.model["version"]
    title = escape(schema.model_name + (f", version {version}" if version else ""))
    parameters = []
    for p in PARAMETERS:
        default = "" if p.default is None else str(p.default)
        parameters.append((_code(p.name), p.use, *map(escape, (p.kind.text, default, p.text))))
    fields = [(_code(field.name), escape(field.text)) for field in ANSWER_FIELDS]
    own = form.answer if form is not None else schema.content.get("answer")
    texts_of_fields = {f.name: f.text for f in ROW_FIELDS[schema.task]} if own is None else _texts(own)
    fields += [(_code(f"predictions[].{name}"), escape(text)) for name, text in texts_of_fields.items()]
    problems = [
        (f'<a id="{kind.name}"></a><code>{kind.name}</code>', str(kind.status), escape(kind.title))
        for kind in PROBLEMS.values()
    ]
    texts = {setting.name: setting.metadata["help"] for setting in dataclasses.fields(settings)}
    limits = [(escape(texts[name]), f"{getattr(settings, name):,g}{_unit(name)}") for name in LIMITS]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: documentation</title>
<link rel="icon" href="data:,">
{_head(renderer)}<link rel="stylesheet" href="/page/style.css">
</head>
<body class="docs">
<header><h1>{title}</h1>
<nav><a href="./">Try it</a> <a href="openapi.json">OpenAPI</a> <a href="v1/schema">Schema</a></nav></header>
<main>
{_predicted(schema)}
<h2>Routes</h2>
{_routes(renderer, needs_token=bool(settings.token_file))}
<h2>Requests</h2>
<p><code>data</code> is a record, a list of records, or <code>columns</code> and <code>rows</code>. Text is
read as in a CSV file: <code>"5"</code> is the number 5, <code>"?"</code> is a missing value. Categories and
numbers that training never saw are accepted and listed in <code>warnings</code>. <code>session</code> comes
back with the answer. Bodies may be compressed with gzip or deflate.</p>
{_examples(model.schema.typical_record if form is None else form.example, takes, url)}
<h2>Parameters</h2>
{_table(("name", "for", "value", "default", "meaning"), parameters)}
<h2>Answers</h2>
{_table(("field", "meaning"), fields)}
{_features(schema.features) if form is None else _properties(form)}
<h2>Errors</h2>
<p>Errors are <code>application/problem+json</code> (RFC 9457). A 422 lists every fault with its row (from 0),
its field, and what was expected. A 503 says in <code>Retry-After</code> when to try again.</p>
{_table(("type", "status", "title"), problems)}
<h2>Limits</h2>
{_table(("limit", "value"), limits)}
</main>
</body>
</html>
"""


def _head(renderer: str) -> str:
    if not renderer:
        return ""
    return (
        f'<link rel="stylesheet" href="/page/{STYLE}?v={renderer}">\n'
        f'<script src="/page/{SCRIPT}?v={renderer}" defer></script>\n'
        '<script src="/page/docs.js" type="module"></script>\n'
    )


def _routes(renderer: str, *, needs_token: bool) -> str:
    """Table of the routes, whose place Swagger UI takes where it is installed and scripts run."""
    cells = [(f"<code>{r.method} {r.path}</code>", escape(r.text)) for r in ROUTES]
    table = _table(("route", "gives"), cells)
    if not renderer:
        told = "To see each route with its parameters, and to try it here, install the renderer next to the"
        return f'{table}\n<p class="quiet">{told} mapper: <code>{escape(ABSENT)}</code></p>'
    return f'<div id="operations"{" data-token" if needs_token else ""}>{table}</div>'


def _predicted(schema: ModelSchema) -> str:
    classes = ", ".join(map(_code, schema.class_texts))
    told = "".join(f" {escape(sentence)}" for sentence in schema.target_entry.sentences)
    return f"<p>Predicts <strong>{escape(schema.target)}</strong>, one of\n{classes}.{told}</p>"


def _features(features: Sequence[Feature]) -> str:
    head: tuple[str, ...] = ("name", "type", "presence", "training saw", "example")
    rows: list[tuple[str, ...]] = list(map(_feature_row, features))
    told = [escape(" ".join(feature.told)) for feature in features]
    if any(told):
        head, rows = (*head, "meaning"), [(*row, text) for row, text in zip(rows, told, strict=True)]
    return f"<h2>Features</h2>\n{_table(head, rows)}"


def _properties(form: Form) -> str:
    """The fields of a record as an application's class describes them."""
    required = form.record.get("required", ())
    rows = [
        (
            _code(name),
            *map(escape, ("required" if name in required else "may be missing", text)),
            escape(json.dumps(form.example.get(name), ensure_ascii=False)),
        )
        for name, text in _texts(form.record).items()
    ]
    return f"<h2>Fields</h2>\n{_table(('name', 'presence', 'meaning', 'example'), rows)}"


def _texts(document: dict[str, Any]) -> dict[str, str]:
    """Descriptions of the properties in a JSON Schema, by their names."""
    properties = document.get("properties", {})
    return {name: str(part.get("description", part.get("type", ""))) for name, part in properties.items()}


def _examples(record: dict[str, Any], takes: str | None, url: str) -> str:
    examples: list[tuple[str, str, dict[str, Any]]] = []
    if takes != "file":
        table = {"columns": list(record), "rows": [list(record.values())] * 2}
        explain = {"data": record, "parameters": {"effort": "fast", "max_counterfactuals": 2}}
        examples.append(("One row", "predict", {"data": record}))
        examples.append(("Many rows, names given once", "predict", {"data": table}))
        examples.append(("With an explanation", "explain", explain))
    if takes != "rows":
        file = {"input_url": "https://…", "output_url": "https://…", "file_id": "march"}
        examples.append(("A file behind presigned URLs", "predict", {"file": file}))
    return "".join(
        f"<h3>{escape(name)}</h3><pre><code>{escape(_curl(url, route, body))}</code></pre>"
        for name, route, body in examples
    )


def _unit(setting: str) -> str:
    return " bytes" if setting.endswith("_bytes") else " s" if setting.endswith("_s") else ""


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _curl(url: str, route: str, body: dict[str, Any]) -> str:
    """A command that can be pasted into a shell."""
    text = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f"curl {shlex.quote(f'{url}/v1/{route}')} -H 'Content-Type: application/json' -d {text}"


def _feature_row(feature: Feature) -> tuple[str, ...]:
    example = json.dumps(feature.typical, ensure_ascii=False)
    cells = (feature.type, "may be missing" if feature.nullable else "required", feature.seen, example)
    return (_code(feature.name), *map(escape, cells))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Table of cells that are HTML already."""
    lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'
