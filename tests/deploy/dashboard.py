"""Queries of the dashboard, of the alerts and of the Prometheus adapter, and what they ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.deploy.kustomization import DEPLOY, KUBERNETES, documents

METRIC = re.compile(r"\b((?:proto_model|mapper|process)_[a-z_]+)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')
DASHBOARD: dict[str, Any] = json.loads(
    (DEPLOY / "monitoring" / "grafana" / "dashboards" / "proto-model.json").read_text(encoding="utf-8")
)
# Labels that Prometheus adds when it scrapes.
SCRAPED = {"job", "instance", "namespace", "pod"}


def panels() -> list[tuple[str, str]]:
    """Title of each panel and what it asks, once per query."""
    return [
        (panel["title"], _asked(target["expr"]))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def _asked(text: str) -> str:
    """A query as Grafana sends it for a range of an hour and every job."""
    return text.replace("$__rate_interval", "1m").replace("$job", ".*")


def expressions() -> list[str]:
    """All queries, as Prometheus gets them."""
    return [
        _asked(text)
        .replace("<<.Series>>", series)
        .replace("<<.LabelMatchers>>", 'namespace="a"')
        .replace("<<.GroupBy>>", "pod")
        for text, series in _templates()
    ]


def asked() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Each metric that a query reads, with its matchers."""
    for text in expressions():
        found = list(METRIC.finditer(text))
        assert found or "up{" in text, text
        for match in found:
            yield match[1], MATCHER.findall(match[2] or "")


def _templates() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"], ""
    for group in documents(DEPLOY / "monitoring" / "rules.yaml")[0]["groups"]:
        for rule in group["rules"]:
            yield rule["expr"], ""
    for rule in documents(KUBERNETES / "monitoring" / "adapter-rules.yaml")[0]["rules"]:
        yield rule["metricsQuery"], rule["seriesQuery"].partition("{")[0]
