"""An Airflow operator that skips itself, in words of its own."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException


class SkipsItself(BaseOperator):
    """Does nothing, and says why."""

    def __init__(self, *, words: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def execute(self, context: Any) -> None:
        """Raise what Airflow knows for it."""
        raise AirflowSkipException(self.words)
