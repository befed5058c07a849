"""What a worker has counted since it started, to be read by whoever exports numbers."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class WorkerStats:
    """Totals since the start; `stuck` is how many handlers do not end at this moment."""

    claimed: int = 0
    completed: int = 0
    retried: int = 0
    failed: int = 0
    cancelled: int = 0
    released: int = 0
    rescued: int = 0
    lease_lost: int = 0
    not_storable: int = 0
    timeouts: int = 0
    claim_errors: int = 0
    heartbeat_errors: int = 0
    stuck: int = 0
    longest_loop_lag_seconds: float = 0.0
    completed_by_type: Counter[str] = field(default_factory=Counter)
    failed_by_type: Counter[str] = field(default_factory=Counter)
    retried_by_type: Counter[str] = field(default_factory=Counter)
