"""The package that runs on Lambda. Rooms import downwards: handlers, intake, then records and decoder, then words."""

import gc

# At the default (2,000 objects) the collector runs thirty times during imports, frees nothing, and takes a twentieth of
# a cold start's CPU time. The code that runs later makes few cycles.
gc.set_threshold(50_000)
