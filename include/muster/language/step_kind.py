"""What a kind of step is: all that a module of `kinds/` says, and everything else derives from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from muster.language.resolved_step import ResolvedStep
from muster.language.steps import StepBase
from muster.skills.index import Lane

if TYPE_CHECKING:
    from muster.language.problems import Problem
    from muster.language.site_catalog import SiteCatalog
    from muster.language.spot import Spot

S = TypeVar("S", bound=StepBase)


def _nothing(step: StepBase, spot: Spot) -> Iterable[Problem]:
    return ()


def _unknown(step: StepBase, catalog: SiteCatalog) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class StepKind(Generic[S]):
    """A kind of step."""

    model: type[S]
    """What a person writes; its docstrings are the documentation."""
    resolved: type[ResolvedStep]
    """What it is in a definition, and what it means for others."""
    place: int
    """Orders the kinds in messages and on the page."""
    parts: tuple[type[BaseModel], ...] = ()
    """Models inside of it that the page explains besides."""
    example: str
    """An automation that uses it, for the page."""
    output: str
    """What it puts out, for the page."""
    output_example: str
    """What the step of the example puts out, as JSON."""
    expressions: frozenset[str] = frozenset()
    """Keys of its own in which expressions can stand."""
    lanes: tuple[Lane, ...] = ("async",)
    """Where it can execute; the first is meant when nothing else is said."""
    resolve: Callable[[S, SiteCatalog], dict[str, Any]]
    """The fields that only `resolved` has; `lane` and `timeout` count where the step says none."""
    gives: Callable[[S, SiteCatalog], Mapping[str, object] | None] = _unknown
    """The JSON Schema of what one work item puts out; None where the files do not say."""
    check: Callable[[S, Spot], Iterable[Problem]] = _nothing
    """What is wrong with such a step, beside what can be wrong with every step."""

    @property
    def name(self) -> str:
        """What the kind is called."""
        return self.model.kind

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys; each one makes a step one of this kind."""
        return self.model.keys or (self.name,)


def object_of(names: Iterable[str]) -> dict[str, object]:
    """The schema of a mapping with these keys and no others."""
    return {"type": "object", "properties": dict.fromkeys(sorted(names), True)}
