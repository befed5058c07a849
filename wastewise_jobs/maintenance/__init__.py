"""The periodic task: whoever is on call hears of what nobody's own transaction can tell.

    every process ── is a round due? ──▶ one of them has it ──▶ checks, one by one ──▶ ping
                      [schema_info]                             and then the chores

There is no leader: a round belongs to whoever moves `round_due_at` first, and for as long as
`round_until` says; one that dies in the middle delays the next by that. A check that fails is
logged and the others go on. The ping goes out when all of them did well: a watcher that is gone, or
blind, is noticed by its silence.
"""
