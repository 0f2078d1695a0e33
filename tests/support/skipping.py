"""Airflow operators that skip: themselves, in words of their own, or what comes after them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped


class SkipsItself(BaseOperator):
    """Does nothing, and says why."""

    def __init__(self, *, words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def execute(self, context: Any) -> None:
        """Raise what Airflow knows for it."""
        raise AirflowSkipException(self.words)


class SkipsOthers(SkipsItself):
    """Would have what comes after it skipped."""

    def execute(self, context: Any) -> None:
        """Raise what Airflow knows for it."""
        raise DownstreamTasksSkipped(tasks=["note", "close"])
