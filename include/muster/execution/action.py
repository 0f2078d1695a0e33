"""How the work of a kind of step is done: what a module of `kinds/` says in `ACTION`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from muster.errors import PermanentError
from muster.execution.piece import Answer, Piece
from muster.execution.services import Services
from muster.language.definition import ResolvedStep


def _never(services: Services, step: ResolvedStep) -> bool:
    return False


@dataclass(frozen=True)
class Action:
    """What is done for a kind of step whose work Muster does itself."""

    act: Callable[[Services, Piece], Awaitable[Answer]]
    """Does one piece of it."""
    uses_threads: Callable[[Services, ResolvedStep], bool] = _never
    """True when it calls a blocking function, so that only a few items can be worked on at once."""


def named(name: str | None) -> str:
    """What a step must name to be done."""
    if name is None:
        raise PermanentError("The step names nothing to call.")
    return name
