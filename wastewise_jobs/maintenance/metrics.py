"""What this process has done of the periodic task, as Prometheus knows it."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from wastewise_jobs.maintenance.rounds import Maintenance


def maintenance_figures(maintenance: Maintenance) -> Iterator[Metric]:
    """Rounds of this process, and the checks that failed in them."""
    yield CounterMetricFamily(
        "wastewise_maintenance_rounds", "Rounds that this process made.", value=maintenance.rounds
    )
    failures = CounterMetricFamily(
        "wastewise_check_failures", "Checks that could not be made.", labels=["check"]
    )
    for check in maintenance.checks:
        failures.add_metric([check.name], maintenance.failures[check.name])
    yield failures
