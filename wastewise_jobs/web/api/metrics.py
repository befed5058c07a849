"""The handler of /metrics."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from wastewise_jobs.monitoring.prometheus import Exposition
from wastewise_jobs.web.api import tags
from wastewise_jobs.web.http.route import Call, NoBody, NoParameters, Route


class MetricsResource:
    """On the main port for admins, on a port of its own for whoever reaches that one."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition

    async def metrics(self, call: Call[NoParameters, NoParameters, NoBody]) -> web.StreamResponse:
        del call
        return web.Response(
            body=await self._exposition.text(),
            headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"},
        )


def routes(metrics: MetricsResource, *, access: str) -> tuple[Route, ...]:
    """Every number, for whoever has `access`."""
    return (
        Route(
            "GET",
            "/metrics",
            metrics.metrics,
            access,
            "Every number, for Prometheus",
            answers={200: "text/plain"},
            tag=tags.SERVICE,
        ),
    )
