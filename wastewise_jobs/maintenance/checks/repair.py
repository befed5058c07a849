"""Jobs of which job_queue does not say what analysis_jobs says: writes that no trigger saw."""

from wastewise_jobs.maintenance.check import Check

_STATEMENT = "SELECT more, repaired, astray FROM public.repair_a_step()"


def repair() -> Check:
    """Repairs them; what somebody holds is left for the next round."""
    return Check("repair", _STATEMENT, in_steps=True)
