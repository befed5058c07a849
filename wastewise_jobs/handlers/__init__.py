"""Handlers: which function does the work of a job type, and what it sees of its job.

`registry` is what an application decorates its functions with, `context` what they are given,
`binding` where they enqueue from this process.
Hand-over to the work itself is all that happens here: nothing in this package runs a job.
"""
