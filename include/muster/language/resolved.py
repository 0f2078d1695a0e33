"""Parts of a definition that several steps share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Resolved(BaseModel):
    """The base of every part of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ResolvedClassRetry(Resolved):
    """What differs for one kind of failure; None for what does not."""

    times: int | None = None
    """How often this kind is tried again, counted for itself."""
    delay: float | None = None
    backoff: float | None = None
    max_delay: float | None = None


class ResolvedRetry(Resolved):
    """How a failed attempt is repeated."""

    times: int = 0
    """How often the step is tried again after its first attempt."""
    delay: float = 10.0
    """Seconds of the longest wait before the second attempt."""
    backoff: float = 2.0
    """What that is multiplied by for each further wait."""
    max_delay: float = 600.0
    """Seconds of the longest wait."""
    on: dict[str, ResolvedClassRetry] = {}
    """What differs, by kind of failure."""


class ResolvedCompensation(Resolved):
    """What undoes a step."""

    skill: str
    arguments: dict[str, Any] = {}
    retry: ResolvedRetry = ResolvedRetry(times=5)
    timeout: float = 900.0
    """Seconds one attempt may take: a run must not hang half undone."""
    references: tuple[str, ...] = ()
    """Ids of the steps its expressions use, sorted."""


class ResolvedFallback(Resolved):
    """What takes over when a step failed for good: a skill or an agent."""

    skill: str | None = None
    agent: str | None = None
    ask: str | None = None
    """What the agent is asked."""
    arguments: dict[str, Any] = {}
    """Its own, or the step's."""


class ResolvedTarget(Resolved):
    """Where a notice goes: to Slack or by e-mail."""

    slack: str | None = None
    email: tuple[str, ...] | None = None
    subject: str | None = None
    text: str | None = None
    """None where the notice has a text of its own, as in a deadline."""

    @property
    def places(self) -> list[tuple[Literal["slack", "email"], str]]:
        """Each place it names: how a notice travels there, and the channel or address."""
        slack: list[tuple[Literal["slack", "email"], str]] = [("slack", self.slack)] if self.slack is not None else []
        return [*slack, *(("email", address) for address in self.email or ())]


class ResolvedTrigger(Resolved, ABC):
    """What starts a run: the base of every kind."""

    @property
    @abstractmethod
    def said(self) -> str:
        """What it waits for, in a few words for people."""

    @property
    def folder(self) -> str | None:
        """The folder on this machine of which its runs are given files."""
        return None
