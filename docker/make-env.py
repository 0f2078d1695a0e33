#!/usr/bin/env python3
"""Writes `.env` for docker-compose.yaml: random secrets, private to their owner. Never overwrites.

Makes the folder `inbox` beside it too, whether the file is new or not, for Docker would make it as root, and nobody
else could put a file there.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import sys
from pathlib import Path

LOGINS = ("admin", "finance-lead")
PORT = 8080


def main(path: Path) -> int:
    """Write the file, or say why not."""
    (path.parent / "inbox" / "invoices").mkdir(parents=True, exist_ok=True)
    logins = {name: secrets.token_urlsafe(12) for name in LOGINS}
    values = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "AIRFLOW_DB_PASSWORD": secrets.token_urlsafe(24),
        "MUSTER_DB_PASSWORD": secrets.token_urlsafe(24),
        "FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "JWT_SECRET": base64.b64encode(secrets.token_bytes(64)).decode(),
        "API_SECRET_KEY": secrets.token_urlsafe(32),
        "MUSTER_MASTER_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "MUSTER_LOGINS": f"'{json.dumps(logins)}'",
    }
    port = next((port for port in range(PORT, PORT + 100) if is_free(port)), PORT)
    if port != PORT:
        values["MUSTER_PORT"] = str(port)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path} exists and holds the keys of your data: it stays as it is.", file=sys.stderr)
        return 1
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    if port != PORT:
        print(f"Port {PORT} is in use by another program, so MUSTER_PORT is {port}.")
    print(f"Wrote {path}. Sign in at http://localhost:{port} as", end=" ")
    print(" or ".join(f"{name} ({word})" for name, word in logins.items()) + ".")
    return 0


def is_free(port: int) -> bool:
    """True when nothing on this machine listens there."""
    with socket.socket() as probe:
        # As Docker's proxy does: a connection that has just ended does not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".env")))
