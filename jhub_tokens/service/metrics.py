"""What Prometheus sees: the state of the books, and how the service does its work."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from jhub_tokens.units import GRAINS_PER_TOKEN

__all__ = ["Metrics"]

_GRAINS = "_grains"


class Metrics:
    """The service's own metrics, in a registry of their own.

    Amounts are in tokens; Prometheus keeps floats, so these are for graphs and the books are
    the truth.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.admissions = Counter(
            "jhub_tokens_admissions", "Starts admitted", ["profile"], registry=self.registry
        )
        self.refusals = Counter(
            "jhub_tokens_refusals", "Starts refused", ["code"], registry=self.registry
        )
        self.snapshots = Counter(
            "jhub_tokens_snapshots", "Snapshots received from the hub", registry=self.registry
        )
        self.snapshot_at = Gauge(
            "jhub_tokens_last_snapshot_timestamp_seconds",
            "When the hub's last snapshot arrived",
            registry=self.registry,
        )
        self.grants = Counter(
            "jhub_tokens_grants", "Grants booked through the service", ["kind"],
            registry=self.registry,
        )  # fmt: skip
        self.warden_pass_seconds = Histogram(
            "jhub_tokens_warden_pass_seconds", "Duration of a warden's pass",
            registry=self.registry,
        )  # fmt: skip
        self.warden_lag_seconds = Gauge(
            "jhub_tokens_warden_lag_seconds",
            "How long the most overdue wallet has waited after the last pass",
            registry=self.registry,
        )
        self.warden_failures = Counter(
            "jhub_tokens_warden_failures", "Passes of the warden that failed",
            registry=self.registry,
        )  # fmt: skip
        self.stop_seconds = Histogram(
            "jhub_tokens_stop_seconds", "From a stop order to the server's observed end",
            ["reason"],
            buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 900),
            registry=self.registry,
        )  # fmt: skip
        self.late_stops = Counter(
            "jhub_tokens_late_stops", "Servers that took longer to stop than policy.stop_time",
            ["reason"],
            registry=self.registry,
        )  # fmt: skip
        self.stops_overdue = Gauge(
            "jhub_tokens_stops_overdue",
            "Stop orders that have stood for longer than policy.stop_time at the last snapshot",
            registry=self.registry,
        )
        self.clock_ahead_seconds = Gauge(
            "jhub_tokens_clock_ahead_seconds",
            "How far the machine's clock was set ahead (negative: back) and is not believed",
            registry=self.registry,
        )
        self.deliveries = Counter(
            "jhub_tokens_deliveries", "Attempts to send a notice, by what became of them",
            ["channel", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.outbox_waiting = Gauge(
            "jhub_tokens_outbox_waiting", "Notices that wait to be sent by a channel",
            registry=self.registry,
        )  # fmt: skip
        self.outbox_failures = Counter(
            "jhub_tokens_outbox_failures", "Passes of the outbox that failed",
            registry=self.registry,
        )  # fmt: skip
        self.sealed_at = Gauge(
            "jhub_tokens_last_seal_timestamp_seconds", "When the books were last sealed",
            registry=self.registry,
        )  # fmt: skip
        self.seal_failures = Counter(
            "jhub_tokens_seal_failures", "Seals that could not be made or kept",
            registry=self.registry,
        )  # fmt: skip
        self.requests = Histogram(
            "jhub_tokens_request_seconds", "Duration of requests", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.event_streams = Gauge(
            "jhub_tokens_event_streams", "Pages that are open and told of changes",
            registry=self.registry,
        )  # fmt: skip
        self.backlog = Gauge(
            "jhub_tokens_backlog", "Work waiting for or using the books", registry=self.registry
        )
        self.up = Gauge("jhub_tokens_up", "1 if the books are open, else 0", registry=self.registry)
        self._totals: dict[str, Gauge] = {}

    def set_totals(self, totals: Mapping[str, int]) -> None:
        """Take over the ledger's totals; those in grains are shown in tokens."""
        for name, value in totals.items():
            is_amount = name.endswith(_GRAINS)
            shown = name.removesuffix(_GRAINS) + "_tokens" if is_amount else name
            if shown not in self._totals:
                self._totals[shown] = Gauge(
                    f"jhub_tokens_books_{shown}",
                    f"Sum over all members: {shown.replace('_', ' ')}",
                    registry=self.registry,
                )
            self._totals[shown].set(value / GRAINS_PER_TOKEN if is_amount else value)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
