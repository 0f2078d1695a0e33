"""Airflow operators that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

meanwhile: list[Callable[[], object]] = []
"""What happens while `Breaks` is at work."""


class FailsForGood(BaseOperator):
    """Fails, and says why."""

    def execute(self, context: Any) -> None:
        """Raise what Airflow knows for it."""
        raise AirflowFailException("the account is closed")


class TimesOut(BaseOperator):
    """Waits for nothing, and says so."""

    def execute(self, context: Any) -> None:
        """Raise what Airflow's sensors do."""
        raise AirflowSensorTimeout("the account is closed")


class Breaks(BaseOperator):
    """Fails of something that may pass."""

    def execute(self, context: Any) -> None:
        """Fail."""
        for each in meanwhile:
            each()
        raise ConnectionError("the bank is closed")
