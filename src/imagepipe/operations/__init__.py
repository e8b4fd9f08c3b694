"""What people on call do: see failures, put them back, make images again, compare what is there with what should be.

failures ── redrive ── reprocess ── reconcile          one module per command; each is safe to repeat and to break off
    │          │           │            └── inventory  objects, records and variants, joined on disk
    │          │           └── selection, journal, estimate
    └──────────┴── dead_letters, messages, pace        the queues
deployment ── records                                  where all of it is, and what the table holds
"""
