"""Alerts: raised once for each cause, delivered until somebody knows.

    a transition fails a job ─┐                                     ┌▶ email (Resend or SMTP)
    a check finds something ──┴▶ job_alerts ─ plan ─▶ outbox row ───┼▶ slack
                                 open │                each channel └▶ pagerduty
                                      ▼
              acknowledged · snoozed · resolved (recovery notice to whoever was told)

An alert is a row that is written in the transaction that made it true (migrations/
post-apply.7-alerts.sql), so a failed job cannot lose its alert. While it is open, whatever else is
seen of its cause only counts. The dispatcher runs in every process, looks every five seconds and
delivers from an outbox with one row for each alert and channel: at most one delivery of a row is
under way, a process that dies leaves a row that another one sends a minute later, and the keys
that Resend and PagerDuty know a delivery by make the repeat harmless. A slow channel holds up
nothing but itself. Whatever a channel comes to is recorded, an exception too: after ten attempts an
alert is undelivered, which is logged and counted, and raises no alert.
"""
