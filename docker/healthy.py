"""Exits with 0 when Airflow's own report calls the component named on the command line healthy."""

from __future__ import annotations

import json
import sys
import urllib.request

HEALTH = "http://api-server:8080/api/v2/monitor/health"


def main() -> int:
    """0 when healthy, else 1."""
    try:
        with urllib.request.urlopen(HEALTH, timeout=8) as answer:
            report = json.load(answer)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if report.get(sys.argv[1], {}).get("status") == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main())
