"""The job that runs before Airflow: databases, schemas and logins. Safe to run any number of times.

With the argument `databases` it makes the databases only, empty, for a backup to be restored into.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg

from muster.local.credentials import write_secret
from muster.local.databases import prepare_embedded
from muster.migrations import migrate


def main(what: list[str]) -> None:
    """Make what is missing; fail if anything cannot be made."""
    given = os.environ
    superuser = given["MUSTER_SUPERUSER_DSN"]
    passwords = {"airflow": given["AIRFLOW_DB_PASSWORD"], "muster": given["MUSTER_DB_PASSWORD"]}
    databases = prepare_embedded(superuser, passwords)
    with psycopg.connect(superuser) as connection:
        # `muster test` rehearses in databases of its own on this server: there is no other in the image.
        connection.execute("ALTER ROLE muster CREATEDB")
    if what == ["databases"]:
        return
    migrate(databases.muster)
    # A volume made by an older image is open to others.
    Path(given["MUSTER_STATE"]).chmod(0o700)
    write_secret(Path(given["AIRFLOW_HOME"]) / "passwords.json", given["MUSTER_LOGINS"])
    # Airflow alone needs neither of these.
    environment = {
        name: value for name, value in given.items() if name not in {"MUSTER_SUPERUSER_DSN", "MUSTER_LOGINS"}
    }
    subprocess.run([sys.executable, "-P", "-m", "airflow", "db", "migrate"], env=environment, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
