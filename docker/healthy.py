"""Exits with 0 when Airflow's own report calls the component named on the command line healthy.

The dag-processor is so only while it loads every automation: its work is to load them.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

HEALTH = "http://api-server:8080/api/v2/monitor/health"


def main(component: str) -> str | None:
    """What is wrong, None when nothing is."""
    try:
        with urllib.request.urlopen(HEALTH, timeout=8) as answer:
            report = json.load(answer)
    except (OSError, ValueError) as error:
        return str(error)
    status = report.get(component, {}).get("status")
    if status != "healthy":
        return f"{component} is {status}"
    return not_loaded() if component == "dag_processor" else None


def not_loaded() -> str | None:
    """The files that Airflow lists as import errors, and the automations that have only a stub.

    From its database: any login may be another one tomorrow.
    """
    import psycopg

    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg", "", 1)
    with psycopg.connect(url, connect_timeout=5) as connection:
        errors = connection.execute("SELECT filename, stacktrace FROM import_error ORDER BY filename").fetchall()
        stubs = connection.execute(
            "SELECT dag_id, description FROM dag JOIN dag_tag USING (dag_id)"
            " WHERE NOT is_stale AND name = 'not valid' AND description LIKE 'NOT VALID: %' ORDER BY dag_id"
        ).fetchall()
        loaded = connection.execute("SELECT EXISTS (SELECT FROM dag WHERE NOT is_stale)").fetchone()
    wrong = [f"{name} does not load: {said(trace)}" for name, trace in errors]
    wrong += [f"{name} does not load: {description}" for name, description in stubs]
    if wrong:
        return "\n".join(wrong)
    return None if loaded == (True,) else "no automation is loaded yet"


def said(trace: str) -> str:
    """What went wrong: the line that names the last error, after which its remedy may follow."""
    lines = trace.strip().splitlines()
    frame = max((number for number, line in enumerate(lines) if line.startswith('  File "')), default=-1)
    return next((line for line in lines[frame + 1 :] if line and not line.startswith(" ")), lines[-1] if lines else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
