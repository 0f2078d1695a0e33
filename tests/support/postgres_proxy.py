"""A TCP proxy before PostgreSQL that can swallow an answer and drop the connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class PostgresProxy:
    """Forwards bytes both ways until told to lose the next answer."""

    def __init__(self, dsn: str) -> None:
        parts = conninfo_to_dict(dsn)
        self._upstream = (str(parts["host"]), int(parts.get("port") or 5432))
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=port, sslmode="disable")
        self._lose = threading.Event()
        self.lost = 0
        """Answers that were swallowed."""
        self.received = 0
        """Bytes that the server has answered."""
        self.is_away = False
        """True while whoever connects is turned away."""
        self._swallowing, self._left, self._losing = b"", 0.0, b""
        self.swallowed = 0
        """Requests that were taken and never answered."""

    def swallow(self, request: bytes, times: float = 1) -> None:
        """Never answer the next so many requests that hold these bytes, nor what comes after them on a connection."""
        self._swallowing, self._left = request, times

    def lose_next_answer(self, to: bytes = b"") -> None:
        """Let the next request that holds these bytes through, wait until the server answered it, and drop the
        connection.
        """
        self._losing = to
        if not to:
            self._lose.set()

    def serve(self) -> None:
        """Accept until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Stop accepting."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _connect(self, client: socket.socket) -> None:
        if self.is_away:
            client.close()
            return
        server = socket.create_connection(self._upstream)
        threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.swallowed < self._left and self._swallowing in data:
                    self.swallowed += 1
                    while client.recv(65536):
                        pass
                    break
                if self._losing and self._losing in data:
                    self._losing = b""
                    self._lose.set()
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                self.received += len(data)
                if self._lose.is_set():
                    self._lose.clear()
                    self.lost += 1
                    break
                client.sendall(data)
        for end in (server, client):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


Proxy = TypeVar("Proxy", bound=PostgresProxy)


@contextmanager
def forwarding(proxy: Proxy) -> Iterator[Proxy]:
    """The proxy, at work."""
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()


def postgres_proxy(dsn: str) -> AbstractContextManager[PostgresProxy]:
    """A running proxy before the server of `dsn`."""
    return forwarding(PostgresProxy(dsn))
