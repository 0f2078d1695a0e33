"""The kinds of trigger in Airflow: one module for each, with what it `BRINGS`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from muster.language.triggers import TRIGGERS
from muster_airflow.compiler.brings import Brings

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from fastapi import APIRouter

    from muster.language.definition import Definition


def kinds() -> list[str]:
    """The kinds there are."""
    return [module.name for module in iter_modules(__path__)]


def brings(kind: str) -> Brings[Any]:
    """What a kind brings; loaded when it is first needed."""
    brought: Brings[Any] = import_module(f"{__name__}.{kind}").BRINGS
    return brought


def schedule(definition: Definition, since: datetime | None = None) -> Any:
    """The `schedule` of an automation's own Dag, since when it has that; an automation has one at most."""
    schedules = (what.schedule(own, since) for what, own in _of(definition) if what.schedule is not None)
    return next(schedules, None)


def dags_beside(definition: Definition) -> list[DAG]:
    """The Dags that its triggers bring."""
    dags = (what.dag(definition, own) for what, own in _of(definition) if what.dag is not None)
    return [dag for dag in dags if dag is not None]


def routers() -> list[APIRouter]:
    """The routes that triggers bring."""
    return [what.router() for what in map(brings, kinds()) if what.router is not None]


def _of(definition: Definition) -> Iterator[tuple[Brings[Any], list[Any]]]:
    for name, kind in TRIGGERS.items():
        if own := [trigger for trigger in definition.triggers if isinstance(trigger, kind.resolved)]:
            yield brings(name), own
