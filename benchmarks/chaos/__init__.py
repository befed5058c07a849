"""Harm to real processes on a real PostgreSQL, and a history held against what we promise.

    python -m benchmarks.chaos                         everything, at full length
    python -m benchmarks.chaos kill stop               two scenarios
    python -m benchmarks.chaos --profile short         what the gate runs (tests/acceptance)
    python -m benchmarks.chaos kill --part 0.25        a quarter of the faults
    python -m benchmarks.chaos kill --seed 1f2e3d4c    the same schedule of faults once more
    python -m benchmarks.chaos kill --no-notify        without a single notification
    python -m benchmarks.chaos --without fence         a negative control: this must turn red

Each scenario starts a fleet (`worker` and `api` as anybody starts them) on a database of its own,
harms it, lets it come to rest and reads the history: what the database recorded of every change
(`history`), what the handlers wrote down, what the clients were promised. Every invariant must
hold (`invariants`), every figure must be within its limit. A figure without a limit is there to be
read; one that is MISSED, or a VIOLATION, makes the run red and the exit code 1, and leaves the logs
of the processes where the last line says.

The seed fixes the schedule of faults: which slot is harmed in which order, after which pause, for
how long. What a fault meets depends on the machine, so a replay is alike and not the same.

`--without` takes a protection away (`controls`) in the harness's own database, and runs the
scenario that must notice. `selftest` shows each invariant a violation of its own.
"""
