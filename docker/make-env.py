#!/usr/bin/env python3
"""Writes `.env` for docker-compose.yaml: random secrets, private to their owner. Never overwrites."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from pathlib import Path

LOGINS = ("admin", "finance-lead")


def main(path: Path) -> int:
    """Write the file, or say why not."""
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
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path} exists and holds the keys of your data: it stays as it is.", file=sys.stderr)
        return 1
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    print(f"Wrote {path}. Sign in as " + " or ".join(f"{name} ({word})" for name, word in logins.items()) + ".")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".env")))
