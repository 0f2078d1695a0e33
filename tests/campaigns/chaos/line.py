"""The line between Muster and its database, which can be cut, or lose an answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import AbstractContextManager

from support.postgres_proxy import PostgresProxy, forwarding


class Line(PostgresProxy):
    """The proxy of the tests, all of whose connections can be cut at once."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._open: set[socket.socket] = set()
        self._refusing = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> int:
        """End every connection, and every new one at once, until it is mended; how many there were."""
        self._refusing.set()
        doomed = list(self._open)
        for client in doomed:
            _end(client)
        return len(doomed)

    def mend(self) -> None:
        """Let connections through again."""
        self._refusing.clear()
        self._lose.clear()

    def _connect(self, client: socket.socket) -> None:
        if self._refusing.is_set():
            _end(client)
            return
        self._open.add(client)
        try:
            super()._connect(client)
        except OSError:
            # The server is away.
            _end(client)
        finally:
            self._open.discard(client)


def _end(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def line(dsn: str) -> AbstractContextManager[Line]:
    """A running line to the server of `dsn`."""
    return forwarding(Line(dsn))
