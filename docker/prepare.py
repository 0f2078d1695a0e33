"""The job that runs before Airflow: databases, schemas and logins. Safe to run any number of times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from muster.local.credentials import write_secret
from muster.local.databases import prepare_embedded
from muster.migrations import migrate


def main() -> None:
    """Make what is missing; fail if anything cannot be made."""
    given = os.environ
    passwords = {"airflow": given["AIRFLOW_DB_PASSWORD"], "muster": given["MUSTER_DB_PASSWORD"]}
    databases = prepare_embedded(given["MUSTER_SUPERUSER_DSN"], passwords)
    migrate(databases.muster)
    write_secret(Path(given["AIRFLOW_HOME"]) / "passwords.json", given["MUSTER_LOGINS"])
    # Airflow alone needs neither of these.
    environment = {
        name: value for name, value in given.items() if name not in {"MUSTER_SUPERUSER_DSN", "MUSTER_LOGINS"}
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True)


if __name__ == "__main__":
    main()
