"""PostgreSQL as everything above sees it: where it is, how it is reached, and what it says.

    dsn ─▶ address ─▶ connect ─▶ pool ─ turns ─▶ stores          notifier ─▶ wake ─▶ loops
                     host by host   first come, first served      doorbell ─▶ NOTIFY

`schema` brings the database to what this release needs, `embedded` is a server of our own.
`trouble` says what an error of the server means, `loops` how whatever runs for ever survives one.
"""
