"""What a kind of trigger brings to Airflow: what a module of `triggers/` says in `BRINGS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from muster.language.resolved import ResolvedTrigger

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from fastapi import APIRouter

    from muster.language.definition import Definition

T = TypeVar("T", bound=ResolvedTrigger)


@dataclass(frozen=True, kw_only=True)
class Brings(Generic[T]):
    """What a kind of trigger brings; the functions are given the triggers of this kind that an automation has."""

    schedule: Callable[[Sequence[T], datetime | None], Any] | None = None
    """The `schedule` of the automation's own Dag, which it has since that time, as far as that is known; None for the
    kinds that start it from elsewhere.
    """
    dag: Callable[[Definition, Sequence[T]], DAG | None] | None = None
    """A Dag beside it, with the sensors and watchers that start its runs; its id is `reference.beside`."""
    router: Callable[[], APIRouter] | None = None
    """Routes of Muster's application, closed as all others until a permission opens them."""
