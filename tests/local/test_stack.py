"""What `muster up` takes for a sign of life of Airflow's processes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from muster.local.credentials import load_credentials
from muster.local.stack import Stack

FAILING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
UNWELL = b'{"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}'
REPORT = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(UNWELL), UNWELL)


@contextmanager
def api_server(answer: bytes | None) -> Iterator[int]:
    """The port of a server that gives this answer to everything; with None it takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    link = server.accept()[0]
                except OSError:
                    return
                with link:
                    link.recv(65536)
                    link.sendall(answer or b"")

        thread = threading.Thread(target=serve, daemon=True)
        if answer is not None:
            thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    if answer is not None:
        thread.join()


@pytest.mark.parametrize(
    ("answer", "ready", "silent"),
    [
        (None, True, ["api-server"]),
        # It may still be on its way up.
        (None, False, []),
        (FAILING, True, []),
        (REPORT, True, ["scheduler"]),
    ],
)
def test_an_api_server_that_answers_nothing_is_silent(
    tmp_path: Path, answer: bytes | None, ready: bool, silent: list[str]
) -> None:
    with api_server(answer) as port:
        stack = Stack(tmp_path, port=port)
        stack.project.make_state()
        stack.credentials = load_credentials(stack.project.state)
        stack._ready = ready
        found = set(stack._silent())
    assert {"api-server", "scheduler"} & found == set(silent)
