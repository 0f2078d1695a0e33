"""The kinds of step as tasks of Airflow's: one module for each, with its `TASK`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from muster_airflow.operators.base import StepTask


def task_of(kind: str) -> StepTask[Any]:
    """What a kind is in Airflow; loaded when it is first needed, so that a Dag does not pay for the others."""
    task: StepTask[Any] = import_module(f"{__name__}.{kind}").TASK
    return task


def kinds() -> list[str]:
    """The kinds there are."""
    return [module.name for module in iter_modules(__path__)]
