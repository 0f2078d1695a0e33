"""What a kind of trigger is: all that a module of `triggers/` says, and everything else derives from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from muster.language.problems import Problem
from muster.language.resolved import ResolvedTrigger
from muster.language.spot import Spot
from muster.written import Written

if TYPE_CHECKING:
    from muster.language.automation import Automation

T = TypeVar("T", bound=Written)


@dataclass(frozen=True, kw_only=True)
class TriggerKind(Generic[T]):
    """A kind of trigger."""

    name: str
    """The key that makes a trigger one of this kind."""
    place: int
    """Orders the kinds in messages and on the page."""
    model: type[T]
    """What a person writes; its docstrings are the documentation."""
    parts: tuple[type[BaseModel], ...] = ()
    """Models inside of it that the page explains besides."""
    resolved: type[ResolvedTrigger]
    """What it is in a definition."""
    known_by: str
    """The field of that by which a stored one is told from the other kinds."""
    resolve: Callable[[T, Automation, Mapping[str, Any]], ResolvedTrigger]
    """What a definition has of it, settings filled in."""
    check: Callable[[T, Automation, Spot], Iterable[Problem]]
    """What is wrong with it."""


def startable(automation: Automation, given: str | None, spot: Spot, *path: str) -> Iterator[Problem]:
    """One problem for each input that a run would lack; `given` is the one that the trigger gives."""
    for name, schema in automation.inputs.items():
        if name != given and "default" not in schema:
            yield spot.problem(
                f"this trigger cannot give the input `{name}`", *path, suggestion=f"Give `{name}` a `default`."
            )
