"""The chores of a round: what keeps the tables small and true, and never raises an alert.

Those that work in steps hold nothing for long, whatever has piled up.
"""

from datetime import timedelta

from wastewise_jobs.alerts.sql import UNDELIVERED
from wastewise_jobs.maintenance.check import Check
from wastewise_jobs.maintenance.store import HELD

SETTLED_FAILURES = "SELECT public.resolve_failed_alerts() AS resolved"
REPAIR = "SELECT more, repaired, astray FROM public.repair_a_step()"
ROLL_UP = "SELECT public.roll_up_jobs() AS more"
# Not before the rollups have counted what is to go.
PRUNE = """
SELECT public.prune_jobs($1::interval, 1000) AS pruned
FROM public.schema_info
WHERE rolled_up_until > now() - $1::interval
"""
PRUNE_ALERTS = "SELECT public.prune_alerts($1::interval, 1000) AS pruned"
PRUNE_ROLLUPS = "SELECT public.prune_rollups(1000) AS pruned"


def chores(retention: timedelta) -> tuple[Check, ...]:
    """In the order of a round; finished jobs and resolved alerts go after `retention`."""
    return (
        # Alerts whose failed jobs have all been requeued and completed, or discarded.
        Check("settled_failures", SETTLED_FAILURES),
        # What no attempt could deliver is said in the log, and never by an alert about alerts.
        Check("undelivered", UNDELIVERED),
        # Jobs of which job_queue does not say what analysis_jobs says: writes that no trigger saw.
        Check("repair", REPAIR, in_steps=True),
        Check("roll_up", ROLL_UP, in_steps=True),
        Check("prune", PRUNE, (retention,), in_steps=True),
        Check("prune_alerts", PRUNE_ALERTS, (retention,), in_steps=True),
        # Minutes are kept for days, quarters of an hour for a year.
        Check("prune_rollups", PRUNE_ROLLUPS, in_steps=True),
        # What pruning passes over, because somebody else's foreign key or trigger keeps it.
        Check("held_rows", HELD, loud=True),
    )
