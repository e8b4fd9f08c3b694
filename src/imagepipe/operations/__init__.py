"""The operators' work: list failures, retry them, reprocess images, compare what is stored with what is recorded.

failures ── redrive ── reprocess ── reconcile          one module per command; each is safe to repeat and to stop
    │          │           │            ├── inventory  objects, records and variants, joined on disk
    │          │           │            └── orphans    variants of no record (sweep), and repairs
    │          │           └── selection, estimate
    └──────────┴── dead_letters, messages, pace        the queues
erase                                                  what S3 and the queue keep of a removed image
resources ── records                                   where an environment keeps everything, and its table
"""
