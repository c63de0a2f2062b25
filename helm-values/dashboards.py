"""Grafana dashboards as code: `python helm-values/dashboards.py` writes their JSON into the chart.

Two dashboards: *operations* is for whoever keeps the service running, *economy* for whoever decides
about plans and hardware. Every metric in them is one that the service, or the chart's other parts,
expose; the tests look.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "charts" / "jhub-tokens" / "files" / "dashboards"
_WIDTH, _HEIGHT = 12, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

#: Title, unit (Grafana's name), and queries by legend.
Panel = tuple[str, str, dict[str, str]]

OPERATIONS: list[Panel] = [
    ("Books open (1) or closed (0)", "short", {"{{pod}}": "jhub_tokens_up"}),
    (
        "Since the hub's last snapshot",
        "s",
        {"age": "time() - max(jhub_tokens_last_snapshot_timestamp_seconds)"},
    ),
    (
        "Starts per minute",
        "short",
        {
            "admitted": "60 * sum(rate(jhub_tokens_admissions_total[5m]))",
            "refused: {{code}}": "60 * sum by (code) (rate(jhub_tokens_refusals_total[5m]))",
        },
    ),
    (
        "Duration of requests",
        "s",
        {
            f"p{round(q * 100)}": f"histogram_quantile({q}, sum by (le) "
            '(rate(jhub_tokens_request_seconds_bucket{route!="/api/v1/hub/stops"}[5m])))'
            for q in (0.5, 0.95)
        },
    ),
    ("Work that waits for the books", "short", {"{{pod}}": "jhub_tokens_backlog"}),
    (
        "Stops: how long, and how many stand too long",
        "s",
        {
            "p95 {{reason}}": "histogram_quantile(0.95, sum by (le, reason) "
            "(rate(jhub_tokens_stop_seconds_bucket[1h])))",
            "overdue": "max(jhub_tokens_stops_overdue)",
        },
    ),
    ("Orders and warnings: how late", "s", {"lag": "max(jhub_tokens_warden_lag_seconds)"}),
    (
        "Notices",
        "short",
        {
            "wait": "max(jhub_tokens_outbox_waiting)",
            "{{channel}} {{outcome}}": "sum by (channel, outcome) "
            "(increase(jhub_tokens_deliveries_total[1h]))",
        },
    ),
    (
        "Failures in the last hour",
        "short",
        {
            "warden": "sum(increase(jhub_tokens_warden_failures_total[1h]))",
            "outbox": "sum(increase(jhub_tokens_outbox_failures_total[1h]))",
            "seals": "sum(increase(jhub_tokens_seal_failures_total[1h]))",
        },
    ),
    (
        "Since the last seal",
        "s",
        {"age": "time() - max(jhub_tokens_last_seal_timestamp_seconds)"},
    ),
]

ECONOMY: list[Panel] = [
    ("Members", "short", {"members": "max(jhub_tokens_books_members)"}),
    ("Servers that run", "short", {"running": "max(jhub_tokens_books_sessions_running)"}),
    (
        "Tokens consumed per hour",
        "short",
        {"consumed": "3600 * deriv(max(jhub_tokens_books_consumed_tokens)[1h:5m])"},
    ),
    (
        "Tokens: issued, consumed, expired",
        "short",
        {
            "issued": "max(jhub_tokens_books_issued_tokens)",
            "consumed": "max(jhub_tokens_books_consumed_tokens)",
            "expired": "max(jhub_tokens_books_expired_tokens)",
        },
    ),
    ("Tokens in members' hands", "short", {"balance": "max(jhub_tokens_books_balance_tokens)"}),
    (
        "Used after the balance was empty",
        "short",
        {"overrun": "max(jhub_tokens_books_overrun_tokens)"},
    ),
    (
        "Starts by profile, per hour",
        "short",
        {"{{profile}}": "3600 * sum by (profile) (rate(jhub_tokens_admissions_total[1h]))"},
    ),
    (
        "GPUs: asked for, of all there are",
        "short",
        {
            "{{pool}} {{of}}": 'max by (pool, of) (jhub_tokens_pool_resources{resource="gpu"})',
        },
    ),
    (
        "Servers that wait for a node",
        "short",
        {"{{pool}}": "max by (pool) (jhub_tokens_pool_waiting)"},
    ),
    (
        "Refusals by reason, per hour",
        "short",
        {"{{code}}": "3600 * sum by (code) (rate(jhub_tokens_refusals_total[1h]))"},
    ),
]

DASHBOARDS = {
    "operations": ("jhub-tokens: operations", OPERATIONS),
    "economy": ("jhub-tokens: economy", ECONOMY),
}


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana 9 and newer import it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"jhub-tokens-{name}",
        "title": title,
        "tags": ["jupyterhub", "jhub-tokens"],
        "schemaVersion": 38,
        "timezone": "browser",
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    title, unit, queries = panel
    row, column = divmod(number, 24 // _WIDTH)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expr, "legendFormat": legend}
            for place, (legend, expr) in enumerate(queries.items())
        ],
    }


def as_text(name: str) -> str:
    """Return a dashboard's file."""
    return json.dumps(dashboard(name), indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(as_text(each))
