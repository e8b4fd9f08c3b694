"""The cloud on this machine: an AWS emulator and a function host, both on loopback, one pair per clone.

lifecycle ── server ── launcher (in the emulator's process): compat, snapshots
    │
    └────── host (a process): pool ── worker ── runtime_api        one process per concurrent invocation
                               └───── function, log_shipping, embedded_metrics
"""

from imagepipe.errors import LocalCloudError
from imagepipe.localcloud.lifecycle import LocalCloud, Status, down, logs, status, up

__all__ = ["LocalCloud", "LocalCloudError", "Status", "down", "logs", "status", "up"]
