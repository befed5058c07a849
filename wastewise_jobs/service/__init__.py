"""The composition root: what runs in a process, a module for each part; `process` is the way in."""
