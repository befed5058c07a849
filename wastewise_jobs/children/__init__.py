"""Child processes that can be killed without harm to anybody else.

A child does one thing at a time and is used again; it is started afresh (no fork), so it inherits
no socket, and in a session of its own, so that Ctrl-C does not reach it. It dies with its parent,
and it is refused more memory than it was promised (`confine`). Whatever goes wrong with one, it is
killed whole, with all that it has started.

    children = Children(2, memory_bytes=512 * 1024**2)
    kind = await children.run(recognise, name, content, timeout=timedelta(seconds=10))
    await children.close()
"""

from wastewise_jobs.children.calls import Children

__all__ = ["Children"]
