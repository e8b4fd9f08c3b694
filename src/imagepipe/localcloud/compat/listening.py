"""Start and stop of the server."""

import asyncio.constants

from ministack import app

FAREWELL_SECONDS = 0.5


def leave_port_443_alone() -> None:
    """Listen on the server's own port only.

    Upstream also takes port 443, if it serves TLS and may bind that port, for a service that we do not use.
    """
    app._port_is_bindable = lambda host, port: False


def stop_in_spite_of_idle_clients() -> None:
    """Stop at once although clients keep connections open.

    Upstream leaves asyncio at its default: an idle TLS client that does not answer the close message delays the stop by
    30 s, and the state is saved only after that.
    """
    asyncio.constants.SSL_SHUTDOWN_TIMEOUT = FAREWELL_SECONDS
