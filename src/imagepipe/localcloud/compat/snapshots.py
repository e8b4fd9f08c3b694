"""State that survives a crash."""

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app
from ministack.core import persistence

INTERVAL_SECONDS = 3.0
#: Time between saves as a multiple of the time of a save: a save copies every record.
WORK_TO_REST = 20
ATTEMPTS = 3

_Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
_log = logging.getLogger(__name__)


def save_while_running() -> None:
    """Save the state in the background, soon after requests that may have changed it.

    Upstream saves it only when it is stopped by a signal, so that a crash loses all but the objects in buckets. With
    the mend a crash loses the last seconds of the other services; the next apply creates what is missing.
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
    _log.warning("the state of %s changes too fast to be saved now; the next round saves it", service)
