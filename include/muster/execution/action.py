"""The work of a kind of step, as a module of `kinds/` declares it in `ACTION`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.resolved_step import ResolvedStep

S = TypeVar("S", bound=ResolvedStep)


def _never(services: Services, step: ResolvedStep) -> bool:
    return False


@dataclass(frozen=True)
class Action(Generic[S]):
    """The work of a kind of step that Muster does itself."""

    act: Callable[[Services, WorkItem, S], Awaitable[ActionResult]]
    """Does one work item of the step."""
    uses_threads: Callable[[Services, S], bool] = _never
    """True when the work calls a blocking function, so that only a few items can be worked on at once."""
