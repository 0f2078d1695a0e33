"""What stands in Airflow's list of import errors for an automation that is not valid."""

from __future__ import annotations

from muster.errors import MusterError


class InvalidAutomation(MusterError):
    """The file named in the message is left out until it is mended; every other automation runs on."""
