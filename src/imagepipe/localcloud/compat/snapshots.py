"""State that survives a crash."""

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app
from ministack.core import persistence

INTERVAL_SECONDS = 3.0
#: Saving copies every record, so the more there is, the less often.
WORK_TO_REST = 20
ATTEMPTS = 3

_Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
_log = logging.getLogger(__name__)


def save_while_running() -> None:
    """State is saved in the background, soon after requests that may have changed something.

    Upstream saves it on a polite stop only, and a crash loses all. Objects in buckets it writes at once, so what a
    crash can lose here are the last seconds of the other services: the next apply finds that missing and makes it.
    """
    changed = threading.Event()
    serve: _Asgi = app.app

    async def watch(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await serve(scope, receive, send)
        if scope.get("method") not in (None, "GET", "HEAD", "OPTIONS"):
            changed.set()

    app.app = watch
    threading.Thread(target=_save_for_ever, args=(changed,), name="snapshots", daemon=True).start()


def _save_for_ever(changed: threading.Event) -> None:
    while True:
        changed.wait()
        time.sleep(INTERVAL_SECONDS)
        changed.clear()
        began = time.monotonic()
        for service, state_of in app._build_persistence_save_dict().items():
            _save(service, state_of)
        time.sleep((time.monotonic() - began) * WORK_TO_REST)


def _save(service: str, state_of: Callable[[], Any]) -> None:
    for attempt in range(ATTEMPTS):
        try:
            state = state_of()
        except RuntimeError:  # a dictionary changed while it was copied
            time.sleep(0.05 * (attempt + 1))
            continue
        if state is not None:
            persistence.save_state(service, state)
        return
    _log.warning("%s is too busy to be saved now; the next round will", service)
