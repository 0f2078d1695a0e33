"""What a kind of trigger is: all that a module of `triggers/` says, and everything else derives from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from muster.language.problems import Problem
from muster.language.resolved import ResolvedTrigger
from muster.language.spot import Spot
from muster.yaml_model import YamlModel

T = TypeVar("T", bound=YamlModel)


class Startable(Protocol):
    """What a trigger asks of the automation that it starts."""

    @property
    def inputs(self) -> Mapping[str, Mapping[str, object]]:
        """Its inputs, by name, as JSON Schema."""
        ...

    @property
    def triggers(self) -> Sequence[YamlModel]:
        """All that start it, in order."""
        ...


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
    """The field of `resolved` by which a stored trigger is told from the other kinds."""
    resolve: Callable[[T, Startable, Mapping[str, object]], ResolvedTrigger]
    """What a definition has of it, settings filled in."""
    check: Callable[[T, Startable, Spot], Iterable[Problem]]
    """What is wrong with it."""


def startable(automation: Startable, given: str | None, spot: Spot, *path: str) -> Iterator[Problem]:
    """One problem for each input that a run would lack; `given` is the one that the trigger gives."""
    for name, schema in automation.inputs.items():
        if name != given and "default" not in schema:
            yield spot.problem(
                f"this trigger cannot give the input `{name}`", *path, suggestion=f"Give `{name}` a `default`."
            )
