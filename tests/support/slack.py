"""An HTTP endpoint on loopback that speaks the protocol of Slack's incoming webhooks."""

from __future__ import annotations

import json
import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.serving import serving

KNOWN_PATH = "/services/T000/B000/token"


class SlackServer(ThreadingHTTPServer):
    """Keeps what was posted; answers as Slack's documentation says, or with the `answers` queued up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[dict[str, Any]] = []
        self.answers: list[tuple[int, str, dict[str, str]]] = []
        self.gate: threading.Event | None = None
        self.hangs_up = False

    @property
    def endpoint(self) -> str:
        """What Slack calls `https://hooks.slack.com/services`."""
        return f"http://127.0.0.1:{self.server_port}/services"

    @property
    def url(self) -> str:
        """A whole webhook URL."""
        return f"http://127.0.0.1:{self.server_port}{KNOWN_PATH}"


class _Handler(BaseHTTPRequestHandler):
    server: SlackServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.gate is not None:
            self.server.gate.wait(10)
        status, text, headers = self._answer(body)
        if self.server.hangs_up:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _answer(self, body: bytes) -> tuple[int, str, dict[str, str]]:
        if self.server.answers:
            return self.server.answers.pop(0)
        if self.path != KNOWN_PATH:
            return 404, "no_service", {}
        try:
            message = json.loads(body)
        except ValueError:
            return 400, "invalid_payload", {}
        if not message.get("text") and not message.get("blocks"):
            return 400, "no_text", {}
        self.server.messages.append(message)
        return 200, "ok", {}

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output quiet."""


def slack_server() -> AbstractContextManager[SlackServer]:
    """A running server."""
    return serving(SlackServer())
