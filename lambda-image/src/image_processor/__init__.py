"""What runs on Lambda. Imports point one way: handlers → processor, catalogue → store, engine → gate → recipe."""

import gc

# At the default (2,000 objects) the collector runs thirty times while modules are imported, finds nothing, and takes a
# twentieth of a cold start's processor time. What runs later makes few cycles.
gc.set_threshold(50_000)
