"""What a kind of step is: all that a module of `kinds/` says, and everything else derives from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from muster.language.steps import StepBase
from muster.skills.index import Lane

if TYPE_CHECKING:
    from muster.language.problems import Problem
    from muster.language.spot import Spot
    from muster.language.surroundings import Surroundings

S = TypeVar("S", bound=StepBase)


def _nothing(step: StepBase, spot: Spot) -> Iterable[Problem]:
    return ()


@dataclass(frozen=True, kw_only=True)
class StepKind(Generic[S]):
    """A kind of step."""

    model: type[S]
    """What a person writes; its docstrings are the documentation."""
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
    resolve: Callable[[S, Surroundings], dict[str, Any]]
    """The fields of a `ResolvedStep` that only this kind has; `lane` and `timeout` count where the step says none."""
    check: Callable[[S, Spot], Iterable[Problem]] = _nothing
    """What is wrong with such a step, beside what can be wrong with every step."""
    done_by: Literal["muster", "people", "airflow", "runs"] = "muster"
    """Who does its work: `execution/kinds` in either lane, a person who approves or rejects, an operator of Airflow's,
    or runs of other automations. Follows from it: how long it may be silent, and that runs undo themselves."""
    chooses: bool = False
    """True when its output names those of the steps after it that go ahead."""
    is_harmless: bool = False
    """True when its failure undoes nothing."""
    plain_output: frozenset[str] = frozenset()
    """Fields of its output that are stored as they are in a run that is about somebody: what comes after it depends
    on them, and must also when the rest is forgotten."""

    @property
    def name(self) -> str:
        """What the kind is called."""
        return self.model.kind

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of which each makes a step one of this kind."""
        return self.model.keys or (self.name,)
