"""The headings under which the description of the API lists its routes."""

JOBS, PROJECTS, ADMIN, ALERTS, SERVICE = "Jobs", "Projects", "Admin", "Alerts", "Service"
