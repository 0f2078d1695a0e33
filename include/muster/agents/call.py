"""What is asked of an agent, what comes back, and what it may reach for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from muster.agents.models import ModelProvider
from muster.agents.spec import AgentSpec
from muster.agents.types import Returns
from muster.database import Database
from muster.documents import NO_DOCUMENTS, Documents
from muster.events.log import EventLog
from muster.skills.registry import Together


@dataclass(frozen=True, kw_only=True)
class AgentCall:
    """One work item for an agent."""

    run: str
    step: str
    index: int | None = None
    key: str
    """What model and tool answers are journaled under: another key when the agent is asked afresh."""
    effect_key: str
    """Idempotency key of what the work does outside the log, the same however often the agent is asked."""
    agent: AgentSpec
    takes_over: bool = False
    """True if `agent` takes over from the step's own agent, as the next one that fits."""
    ask: str
    """What to do, rendered with `prompts.fence` around what expressions put into it."""
    data: Mapping[str, object] = field(default_factory=dict)
    """What it is about: fenced as data for a model, the arguments of the `offline` skill."""
    returns: Returns | None = None
    """What to answer; None for what the agent itself returns, else text."""
    budget: Decimal | None = None
    """US dollars the whole run may spend; None for no limit."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """The automation's settings: `prices` is read here, tools get them all."""
    refuses: Callable[[object], str | None] | None = field(default=None, compare=False)
    """Why what the agent answers cannot be taken, although it fits `returns`; None when it can."""
    documents: Documents = NO_DOCUMENTS
    """The files its tools may read."""
    together: Together | None = None
    """What its tools have together with others who work at the run."""
    request_timeout: float = 120.0
    """Seconds one request to a model may take."""


def doer(work: str, key: str) -> tuple[str | None, bool]:
    """Who performed the effect `key` of the work item whose `effect_key` is `work`.

    Returns the agent, if it took over from the step's own, else None; and whether a model asked for the effect. If not,
    the `offline` skill performed it.
    """
    within = key.removeprefix(work).partition("/effect/")[0]
    return within.partition("/agent/")[2] or None, within.startswith("/tool/")


@dataclass(frozen=True, kw_only=True)
class AgentResult:
    """What came of it."""

    output: object
    """JSON-ready data in the form of `returns`."""
    output_type: Returns | None
    """What hydrates `output`; None for text."""
    produced_by: str
    """`rules`, or `model:<tier>:<model name>` of the last answer."""
    cost: Decimal | None = Decimal(0)
    """US dollars; None when a model without a known price took part."""
    requests: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class AgentServices(Protocol):
    """What agents reach outside their own work."""

    @property
    def models(self) -> ModelProvider:
        """Where models come from."""
        ...

    @property
    def log(self) -> EventLog:
        """The log of runs. Share one, and with it what is known of the runs under way."""
        ...

    @property
    def database(self) -> Database:
        """What tools may read and write."""
        ...

    @property
    def site(self) -> Path | None:
        """Folder of the site's own skills."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time, with its zone."""
        ...

    def workspace(self, run: str) -> Path:
        """The run's own folder."""
        ...
