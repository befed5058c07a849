"""What an uploaded file is, looked at in a child process: nobody's file is parsed in this one.

A small file may take gigabytes and minutes to read. The child has limits on both and is killed at
them; so it is when whoever uploads goes away. What could not be read in time is stored all the
same, as `other`: the analysis says what is wrong with it.
"""

import asyncio
from datetime import timedelta

from wastewise_jobs.analysis import recognise
from wastewise_jobs.children import Children
from wastewise_jobs.errors import PermanentError, RetryableError
from wastewise_jobs.logs import get_logger
from wastewise_jobs.web.http.caller import Caller
from wastewise_jobs.web.http.limits import Turns

OTHER = "other"
MEMORY_BYTES = 512 * 1024**2
_MOST_AT_ONCE = 2
_LOOK = timedelta(seconds=10)
_WAIT_SECONDS = 40.0

_log = get_logger(__name__)


class Recogniser:
    """Looks at files, a few at a time and one of each user; `close` ends the children."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._children = Children(_MOST_AT_ONCE, memory_bytes=memory_bytes)
        self._turns = Turns(1)

    async def type_of(self, caller: Caller, name: str, content: bytes) -> str:
        """`invoice`, `haul_log` or `other`; never takes long, and never raises for the content."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS), self._turns.enter(caller):
                found = await self._children.run(recognise, name, content, timeout=_LOOK)
        except (PermanentError, RetryableError) as error:
            _log.warning("file_not_recognised", error=error.code)
        except Exception as error:  # noqa: BLE001 - as a handler's run: a stranger's file decides what is raised
            _log.warning("file_not_recognised", error=type(error).__name__)
        else:
            return found or OTHER
        return OTHER

    async def close(self) -> None:
        """Kill whatever still looks."""
        await self._children.close()
