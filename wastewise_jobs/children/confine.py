"""What a child does to itself first of all: it must neither outlive nor starve the others."""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

# The exit code of a child that had no memory left even to say so.
OUT_OF_MEMORY_EXIT = 71
_PR_SET_PDEATHSIG = 1
# When the machine itself runs out of memory, the kernel takes a child first.
_OOM_SCORE = "500"


def confine(*, memory_bytes: int, parent: int) -> None:
    """Refuse itself more memory than that, and die with the process `parent`.

    What counts is what the process may write to, not the libraries that it maps. Where a system
    does not know a limit, there is none.
    """
    for limit, most in ((resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (most, most))
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
        # Not even a C function that never gives up the interpreter's lock keeps it alive.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
