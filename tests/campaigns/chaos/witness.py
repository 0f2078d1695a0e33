"""The other side: a loopback server that is told each effect, outside of all that is broken.

It performs an order as often as it is asked to, and drops nothing: what was asked for twice has happened twice. It can
tell whether it has performed an order. Sometimes its answer gets lost after the deed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

LOST = 0.02
"""Chance that an answer is lost after the deed."""
SLOWEST = 0.6
"""Seconds between the deed and its answer, at most: the moment in which a kill hurts most."""


Work = tuple[str, str, int | None]
"""A run, a step of it, and the position of an item."""


@dataclass
class Deed:
    """One thing that happened outside."""

    receipt: int
    order: str
    """What it was asked for under: the idempotency key of the work, or of an agent's tool."""
    run: str
    step: str
    index: int | None
    at: float
    answered: bool = False
    """The one who asked was told: from now on Muster may say that it happened."""
    undone: float | None = None

    @property
    def work(self) -> Work:
        """The work item it belongs to."""
        return self.run, self.step, self.index


@dataclass
class Witness:
    """Everything that happened outside, and every call that came."""

    random: Random
    lost: float = LOST
    slowest: float = SLOWEST
    deeds: list[Deed] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """Orders performed after they had been taken back."""
    found: int = 0
    """Questions whether an order was performed that were answered with yes."""
    answers_lost: int = 0
    mended: bool = False
    """True once what should be stuck may be taken back."""
    taken_back: set[Work] = field(default_factory=set)
    """Work that was taken back, whether or not it had happened."""
    url: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def do(self, body: dict[str, Any]) -> Deed:
        """Perform an order."""
        with self._lock:
            work = body["run"], body["step"], body["index"]
            if work in self.taken_back:
                self.late.append(body["order"])
            deed = Deed(len(self.deeds) + 1, body["order"], *work, at=time.time())
            self.deeds.append(deed)
            return deed

    def find(self, body: dict[str, Any]) -> int:
        """The receipt of an order that was performed, else 0."""
        with self._lock:
            receipt = next((deed.receipt for deed in self.deeds if deed.order == body["order"]), 0)
            self.found += bool(receipt)
            return receipt

    def undo(self, body: dict[str, Any]) -> bool:
        """Take back all that a work item did; False while it cannot be."""
        with self._lock:
            if body["stuck"] and not self.mended:
                return False
            work = body["run"], body["step"], body["index"]
            self.taken_back.add(work)
            for deed in self.deeds:
                if deed.work == work and deed.undone is None:
                    deed.undone = time.time()
            return True

    def draw(self) -> tuple[float, bool]:
        """How long the next answer takes, and whether it is lost."""
        with self._lock:
            pause, lost = self.random.uniform(0, self.slowest), self.random.random() < self.lost
            self.answers_lost += lost
            return pause, lost


@contextmanager
def serving(witness: Witness) -> Iterator[Witness]:
    """The witness behind a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pause, lost = witness.draw()
            if self.path == "/undo":
                self._answer(200 if witness.undo(body) else 423, {"receipt": 0})
                return
            if self.path == "/find":
                self._answer(200, {"receipt": witness.find(body)})
                return
            deed = witness.do(body)
            time.sleep(pause)
            if lost:
                self.close_connection = True
                return
            deed.answered = True
            self._answer(200, {"receipt": deed.receipt})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                # Whoever asked was killed.
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    witness.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield witness
    finally:
        server.shutdown()
        server.server_close()
