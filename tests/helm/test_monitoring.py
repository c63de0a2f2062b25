"""Every metric that a rule or a dashboard names is one that the running service tells."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
from collections.abc import Iterator
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from jhub_tokens.service.cluster.settings import ClusterSettings
from jhub_tokens.service.serve import RunningService
from jhub_tokens.service.settings import Settings
from tests.helm.layers import CHART, VALUES, rendered, tokens_values
from tests.service.conftest import PREFIX

pytest_plugins = ["tests.service.conftest"]

RULES = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
DASHBOARDS = {
    path.stem: json.loads(path.read_text()) for path in (CHART / "files/dashboards").glob("*.json")
}
#: Of kube-state-metrics, which watches the audit's Job.
_FOREIGN = re.compile(r"kube_job_")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As the chart has them: Prometheus reads without a token, and a cluster is looked at."""
    kubeconfig = settings.catalogue_path.with_name("kubeconfig")
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {}}]\n"
    )
    cluster = ClusterSettings(access="kubeconfig", kubeconfig=str(kubeconfig), namespace="hub")
    return dataclasses.replace(settings, open_metrics=True, cluster=cluster)


def alerts() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for name, board in DASHBOARDS.items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


def names_in(expr: Any) -> set[str]:
    found: set[str] = set()

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        for child in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
            value = getattr(node, child, None)
            if value is not None and not isinstance(value, str):
                look(value)
        for argument in getattr(node, "args", None) or []:
            look(argument)

    look(expr)
    return found


@pytest.mark.parametrize(("where", "text"), list(expressions()))
def test_expressions_can_be_read(where: str, text: str) -> None:
    assert names_in(promql_parser.parse(text)), f"{where} names no metric"


async def test_every_metric_exists(running: RunningService) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{running.port}{PREFIX}metrics")
    assert answer.status_code == 200, answer.text
    told = set()
    for family in text_string_to_metric_families(answer.text):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        told |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    for where, text in expressions():
        named = {n for n in names_in(promql_parser.parse(text)) if not _FOREIGN.match(n)}
        assert named <= told, f"{where}: the service has no {named - told}"


def test_each_alert_says_what_to_do() -> None:
    for rule in alerts():
        assert rule["annotations"]["summary"] and rule["annotations"]["remedy"], rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_dashboards_are_what_their_source_says() -> None:
    source = runpy.run_path(str(VALUES / "dashboards.py"))
    for name in source["DASHBOARDS"]:
        written = (CHART / "files" / "dashboards" / f"{name}.json").read_text()
        assert written == source["as_text"](name), "run python helm-values/dashboards.py"


def test_they_come_with_the_chart_when_asked_for() -> None:
    kinds = [each["kind"] for each in rendered(tokens_values("university"))]
    assert {"ServiceMonitor", "PrometheusRule"} <= set(kinds)
    rule = next(e for e in rendered(tokens_values("university")) if e["kind"] == "PrometheusRule")
    text = json.dumps(rule)
    assert "JHUB_TOKENS_NAME" not in text and "jhub-tokens-audit" in text
    assert "{{ $labels.job_name }}" in text  # Prometheus' own, left alone by Helm
    plain = tokens_values("university") | {"metrics": {}}
    assert "PrometheusRule" not in [each["kind"] for each in rendered(plain)]
