"""How the server listens, and how it stops."""

import asyncio.constants

from ministack import app

FAREWELL_SECONDS = 0.5


def leave_port_443_alone() -> None:
    """The server listens on its own port only.

    Upstream also takes port 443 whenever it serves TLS and may bind it, for a service that we do not use.
    """
    app._port_is_bindable = lambda host, port: False


def stop_in_spite_of_idle_clients() -> None:
    """The server stops at once although clients keep connections open.

    Upstream leaves asyncio at its default: each idle TLS client that does not answer the farewell holds it for 30 s,
    and the state is saved only after that.
    """
    asyncio.constants.SSL_SHUTDOWN_TIMEOUT = FAREWELL_SECONDS
