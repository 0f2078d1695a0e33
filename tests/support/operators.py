"""Airflow operators that tests use as steps, and the context of a task process that executes one."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import (
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralTimeout,
    TaskDeferred,
)

executed: list[str] = []
"""What was done outside, in this process."""
meanwhile: list[Callable[[], object]] = []
"""What happens while `Works` is at work."""


def context_of(run: str, step: str, slot: int | None = None, *, try_number: int = 1, max_tries: int = 0) -> Any:
    """What Airflow gives an operator that it executes."""
    dag_id, _, run_id = run.partition("/")
    ti = SimpleNamespace(
        dag_id=dag_id,
        run_id=run_id,
        task_id=step,
        map_index=-1 if slot is None else slot,
        try_number=try_number,
        max_tries=max_tries,
        bundle_instance=None,
    )
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=datetime.now(UTC), logical_date=None)}


class Works(BaseOperator):
    """Does something, and what a test has happen meanwhile."""

    def execute(self, context: Any) -> str:
        """Do it."""
        executed.append("worked")
        for each in meanwhile:
            each()
        return "done"


class Counts(BaseOperator):
    """Gives back what a database gives: rows of numbers, money and dates."""

    def execute(self, context: Any) -> list[tuple[Any, ...]]:
        """Count."""
        return [(7, Decimal("1.50"), date(2026, 1, 31)), (8, None, None)]


class Names(BaseOperator):
    """Gives back the type of each value that it was given."""

    def __init__(self, *, values: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values = values

    def execute(self, context: Any) -> list[str]:
        """Name them."""
        return [f"{type(value).__name__} {value}" for value in self.values]


def _deep() -> list[Any]:
    inner: list[Any] = [Decimal(1)]
    for _ in range(400):
        inner = [inner]
    return inner


def _endless() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


UNWRITABLE: dict[str, Callable[[], Any]] = {
    "bytes": lambda: [(1, "a"), (2, b"\xff\xfe")],
    "deep": _deep,
    "endless": _endless,
    "number": lambda: {"n": 10**5000},
}
"""What has no form in JSON."""


class Gives(BaseOperator):
    """Writes down that it was at work, maybe after a wait in the triggerer, and gives back what has no form in JSON."""

    def __init__(self, *, folder: str, what: str, waits: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder, self.what, self.waits = folder, what, waits

    def execute(self, context: Any) -> Any:
        """Do it, or wait first."""
        if self.waits:
            self.defer(trigger=TimeDeltaTrigger(timedelta(hours=3)), method_name="done")
        return self.done(context)

    def done(self, context: Any, event: Any = None) -> Any:
        """Do it."""
        with (Path(self.folder) / "calls").open("a") as file:
            file.write("done\n")
        return UNWRITABLE[self.what]() if self.what in UNWRITABLE else self.what


class Submits(BaseOperator):
    """Hands a job to another system, and waits for its end in the triggerer."""

    def __init__(self, *, soft_fail: bool = False, waits: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.soft_fail, self.waits = soft_fail, waits

    def execute(self, context: Any) -> None:
        """Hand it over."""
        executed.append("submitted")
        self.defer(trigger=TimeDeltaTrigger(timedelta(hours=3)), method_name="done", timeout=self.waits)

    def done(self, context: Any, event: Any = None) -> str:
        """Take up what came of it; wait on for what has not come."""
        if event == "not yet":
            raise TaskDeferred(trigger=TimeDeltaTrigger(timedelta(hours=3)), method_name="done")
        return "done"

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """As a sensor does, which may skip itself when what it waits for does not come."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            raise (AirflowSkipException if self.soft_fail else AirflowSensorTimeout)("nothing came") from error


class Pokes(BaseOperator):
    """Looks for something once an hour, in a process of its own each time."""

    def execute(self, context: Any) -> None:
        """Look."""
        executed.append("looked")
        raise AirflowRescheduleException(datetime.now(UTC) + timedelta(hours=1))


class Exits(BaseOperator):
    """Ends the process."""

    def execute(self, context: Any) -> None:
        """End it."""
        raise SystemExit(3)


class Looks(BaseSensorOperator):
    """Looks for something in its process, for long; as every sensor, it may skip itself instead of failing."""

    def poke(self, context: Any) -> bool:
        """Look."""
        time.sleep(20)
        return False

    def on_kill(self) -> None:
        """Say so."""
        executed.append("stopped")


class Catches(BaseOperator):
    """Catches whatever would end it."""

    def execute(self, context: Any) -> str:
        """Work for long."""
        try:
            time.sleep(20)
        except BaseException:
            executed.append("caught")
        return "all well"

    def on_kill(self) -> None:
        """Say so."""
        executed.append("stopped")
