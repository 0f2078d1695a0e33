"""A service on loopback that charges as often as it is asked, and says what it has charged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

from support.serving import serving


class BankServer(ThreadingHTTPServer):
    """POST to a name charges it; GET tells how often that was."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.charges: Counter[str] = Counter()
        self.order: list[str] = []
        """What was charged, one after the other."""
        self.meanwhile: Callable[[], object] = lambda: None
        """Done while the first charge is under way, before it is answered."""

    @property
    def url(self) -> str:
        """Ends with a slash; a name comes after it."""
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: BankServer

    def do_POST(self) -> None:
        self.server.charges[self.path[1:]] += 1
        self.server.order.append(self.path[1:])
        if self.server.charges.total() == 1:
            self.server.meanwhile()
        self.do_GET()

    def do_GET(self) -> None:
        body = json.dumps(self.server.charges[self.path[1:]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output quiet."""


def bank_server() -> AbstractContextManager[BankServer]:
    """A running service."""
    return serving(BankServer())


def charge(url: str, name: str) -> int:
    """Charge it; how often it has been charged."""
    return _answer(Request(url + name, method="POST"))


def charged(url: str, name: str) -> int:
    """How often it has been charged."""
    return _answer(Request(url + name))


def _answer(request: Request) -> int:
    with urlopen(request, timeout=120) as answer:
        return int(json.load(answer))
