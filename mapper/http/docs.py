"""The documentation page of a running service, written for the model that it serves."""

from __future__ import annotations

import json
import shlex
from html import escape
from typing import Any

from mapper.http.problem import PROBLEMS
from mapper.http.settings import MapperSettings
from mapper.mapping.model import TabularModel
from mapper.mapping.parameters import EFFORTS, ENGINES, FILE_FORMATS, MAX_COUNTERFACTUALS, ON_BAD_ROW
from mapper.mapping.schema import Feature

__all__ = ["docs_page"]

ROUTES = (
    ("POST /v1/predict", "a prediction for each row, or for a file"),
    ("POST /v1/explain", "the same, each with the rule behind it and with changes that would flip it"),
    ("GET /v1/schema", "the model schema: features, ranges, classes"),
    ("GET /healthz", "200 while the process lives"),
    ("GET /readyz", "200 while a model server answers as the schema says, else 503"),
    ("GET /metrics", "counters for Prometheus"),
    ("GET /openapi.json", "all this for machines"),
    ("GET /", "a page to try the model"),
)
PARAMETERS = (
    ("engine", "explain", f"{' or '.join(ENGINES)}"),
    ("effort", "explain", f"{' or '.join(EFFORTS)}"),
    ("seed", "explain", "a whole number; the same seed gives the same explanation"),
    ("max_counterfactuals", "explain", f"0 to {MAX_COUNTERFACTUALS}"),
    ("immutable_features", "explain", "names of features that a counterfactual may not change"),
    ("increase_only, decrease_only", "explain", "names of features that may change in one direction only"),
    ("input_format, output_format", "file", ", ".join(FILE_FORMATS)),
    ("passthrough", "file", "columns to copy to the output"),
    ("on_bad_row", "file", f"{' or '.join(ON_BAD_ROW)}"),
)


def docs_page(model: TabularModel, settings: MapperSettings, takes: str | None, url: str) -> str:
    """HTML of the page.

    Parameters
    ----------
    model : TabularModel
        Of the version that is served.
    settings : MapperSettings
        Whose limits are told.
    takes : {"rows", "file"} or None
        What the model takes; None when that is not known.
    url : str
        Where the reader found the service, without a path.
    """
    schema = model.schema
    version = model.answers.model["version"]
    title = escape(schema.model_name + (f", version {version}" if version else ""))
    file_request = {"file": {"input_url": "https://…", "output_url": "https://…", "file_id": "march"}}
    examples: list[tuple[str, str, dict[str, Any]]] = []
    if takes != "file":
        examples.append(("One row", "predict", {"data": schema.typical_record}))
        few = list(schema.typical_record.items())
        table = {"columns": [name for name, _ in few], "rows": [[value for _, value in few]] * 2}
        examples.append(("Many rows, names given once", "predict", {"data": table}))
        explain = {"data": schema.typical_record, "parameters": {"effort": "fast", "max_counterfactuals": 2}}
        examples.append(("Why", "explain", explain))
    if takes != "rows":
        examples.append(("A file behind presigned URLs", "predict", file_request))
    shown_examples = "".join(
        f"<h3>{escape(name)}</h3><pre><code>{escape(_curl(url, route, body))}</code></pre>"
        for name, route, body in examples
    )
    problems = [
        (f'<a id="{kind.name}"></a><code>{kind.name}</code>', str(kind.status), escape(kind.title))
        for kind in PROBLEMS.values()
    ]
    limits = (
        ("largest body", f"{settings.max_body_bytes:,} bytes"),
        ("most rows in a request", f"{settings.max_rows:,}"),
        ("longest time that a request may take to arrive", f"{settings.body_timeout_s:g} s"),
        ("longest wait for predictions", f"{settings.predict_timeout_s:g} s"),
        ("longest wait for explanations", f"{settings.explain_timeout_s:g} s"),
        ("longest wait for a file", f"{settings.file_timeout_s:g} s"),
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: documentation</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page/style.css">
</head>
<body class="docs">
<header><h1>{title}</h1>
<nav><a href="/">Try it</a> <a href="/openapi.json">OpenAPI</a> <a href="/v1/schema">Schema</a></nav></header>
<main>
<p>Predicts <strong>{escape(schema.target)}</strong>, one of
{", ".join(f"<code>{escape(text)}</code>" for text in schema.class_texts)}.</p>
<h2>Routes</h2>
{_table(("route", "gives"), [(f"<code>{route}</code>", escape(text)) for route, text in ROUTES])}
<h2>Requests</h2>
<p><code>data</code> is a record, a list of records, or <code>columns</code> and <code>rows</code>. Whatever
is sent as <code>session</code> comes back. Bodies may be compressed by gzip or deflate. A category that
training never saw and a number outside of the range that it saw are accepted, and named in
<code>warnings</code>.</p>
{shown_examples}
<h2>Parameters</h2>
{_table(("name", "for", "value"), [tuple(map(escape, row)) for row in PARAMETERS])}
<h2>Features</h2>
{_table(("name", "type", "presence", "training saw", "example"), map(_feature_row, schema.features))}
<h2>Errors</h2>
<p>Errors are <code>application/problem+json</code> (RFC 9457). A 422 lists every fault with its row, counted
from 0, its field, and what was expected; a 503 says in <code>Retry-After</code> when to try again.</p>
{_table(("type", "status", "title"), problems)}
<h2>Limits</h2>
{_table(("limit", "value"), limits)}
</main>
</body>
</html>
"""


def _curl(url: str, route: str, body: dict[str, Any]) -> str:
    """A command that can be pasted into a shell."""
    text = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    return f"curl {shlex.quote(f'{url}/v1/{route}')} -H 'Content-Type: application/json' -d '{text}'"


def _feature_row(feature: Feature) -> tuple[str, ...]:
    if feature.type == "string":
        seen = ", ".join(feature.categories[:12]) + (", …" if len(feature.categories) > 12 else "")
    elif feature.type == "boolean":
        seen = "true, false"
    else:
        seen = f"{feature.minimum:.6g} to {feature.maximum:.6g}"
    example = json.dumps(feature.typical, ensure_ascii=False)
    cells = (feature.type, "may be null" if feature.nullable else "required", seen, example)
    return (f"<code>{escape(feature.name)}</code>", *map(escape, cells))


def _table(head: tuple[str, ...], rows: Any) -> str:
    """Table of cells that are HTML already."""
    lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'
