"""The routes of alerts."""

from wastewise_jobs.web.alert_views import AlertAnswer, AlertDetails, AlertList
from wastewise_jobs.web.api.alerts import AlertsResource
from wastewise_jobs.web.http import problems as no
from wastewise_jobs.web.http.caller import ADMIN
from wastewise_jobs.web.http.route import PUBLIC, Route

ALERTS = "Alerts"
PAGE = "/alerts/{id}/acknowledge"
JOB_PAGE = "/alerts/{id}/jobs/{job}"


def alert_routes(alerts: AlertsResource) -> tuple[Route, ...]:
    """What is raised, and what people do about it."""
    return (
        Route(
            "GET",
            "/api/admin/alerts",
            alerts.list_alerts,
            ADMIN,
            "List alerts, newest first",
            answers={200: AlertList},
            refusals=(no.INVALID_CURSOR,),
            tag=ALERTS,
        ),
        Route(
            "GET",
            "/api/admin/alerts/{id}",
            alerts.get,
            ADMIN,
            "Look at an alert and its history",
            answers={200: AlertDetails},
            refusals=(no.ALERT_NOT_FOUND,),
            tag=ALERTS,
        ),
        Route(
            "POST",
            "/api/admin/alerts/{id}/acknowledge",
            alerts.acknowledge,
            ADMIN,
            "Acknowledge an alert: it stays quiet until it gets worse",
            answers={200: AlertAnswer},
            refusals=(no.ALERT_NOT_FOUND, no.ALERT_RESOLVED),
            tag=ALERTS,
        ),
        Route(
            "POST",
            "/api/admin/alerts/{id}/snooze",
            alerts.snooze,
            ADMIN,
            "Keep an alert quiet until a time; if it is still open, it is told again",
            answers={200: AlertAnswer},
            refusals=(no.ALERT_NOT_FOUND, no.ALERT_RESOLVED),
            tag=ALERTS,
        ),
        Route(
            "POST",
            "/api/admin/alerts/{id}/resolve",
            alerts.resolve,
            ADMIN,
            "Resolve an alert; the channels that were told of it are told",
            answers={200: AlertAnswer},
            refusals=(no.ALERT_NOT_FOUND,),
            tag=ALERTS,
        ),
        Route(
            "GET",
            PAGE,
            alerts.page,
            PUBLIC,
            "The page that a message leads to; its link is signed",
            answers={200: "text/html"},
            refusals=(no.LINK_NOT_VALID, no.ALERT_NOT_FOUND),
            tag=ALERTS,
        ),
        Route(
            "GET",
            JOB_PAGE,
            alerts.job,
            PUBLIC,
            "The job that a message is about; its link is signed",
            answers={200: "text/html"},
            refusals=(no.LINK_NOT_VALID, no.JOB_NOT_FOUND),
            tag=ALERTS,
        ),
        Route(
            "POST",
            PAGE,
            alerts.press,
            PUBLIC,
            "The button of that page: acknowledge the alert",
            answers={200: "text/html"},
            refusals=(no.LINK_NOT_VALID, no.ALERT_NOT_FOUND),
            tag=ALERTS,
        ),
    )
