"""Performs one work item with an agent: through its models, or by its `offline` skill without any."""

from __future__ import annotations

import asyncio
import importlib
import sys
import weakref
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from muster.agents import prompts
from muster.agents.budget import Budget
from muster.agents.call import AgentCall, AgentResult, AgentServices, doer
from muster.agents.errors import BadOutput, NoModel
from muster.agents.journal import Journal, LogJournal, Recorded
from muster.agents.models import Tier, connected
from muster.agents.prices import price_table
from muster.agents.spec import AgentSpec
from muster.agents.types import OutputType, resolve
from muster.errors import PermanentError
from muster.events.log import EventLog
from muster.recovery.breakers import breakers_of, policy_of
from muster.recovery.fencing import fenced
from muster.recovery.guarding import Guard, Verdict, transient_is_failure
from muster.recovery.ledger import Effect, Ledger, effect_key
from muster.skills.calling import call_skill
from muster.skills.registry import SkillContext, get_skill

if TYPE_CHECKING:
    from pydantic_ai import Agent, RunContext

    from muster.agents.tools import ToolCalls

__all__ = ["AgentCall", "AgentResult", "AgentServices", "run_agent"]

RULES = "rules"
"""`produced_by` of what a deterministic function answered."""

TOOL_RETRIES = 3
"""How often in a row a model may call one tool wrongly."""


@dataclass(eq=False)
class _Run:
    """What the calls of one run share while any of them is under way."""

    journal: Journal
    budget: Budget | None


_RunKey = tuple[asyncio.AbstractEventLoop, str, Decimal | None]
_RunsOfLog = weakref.WeakValueDictionary[_RunKey, "_Run"]
_runs: weakref.WeakKeyDictionary[EventLog, _RunsOfLog] = weakref.WeakKeyDictionary()
_recent: deque[_Run] = deque(maxlen=128)
"""Keeps what was read from the log for a run's next call, for the runs used last."""


def _run(log: EventLog, run: str, limit: Decimal | None) -> _Run:
    # The loop is part of the key, because the futures and locks inside belong to one event loop.
    key = (asyncio.get_running_loop(), run, limit)
    known = _runs.setdefault(log, weakref.WeakValueDictionary())
    shared = known.get(key)
    if shared is None:
        journal = LogJournal(log, run)
        shared = known[key] = _Run(journal, None if limit is None else Budget(limit, journal.spent))
        _recent.append(shared)
    return shared


@dataclass(frozen=True)
class _Kind:
    """What two work items have in common when they can share a pydantic-ai agent."""

    spec: str
    output: OutputType | None
    site: Path | None
    agent: AgentSpec = field(compare=False)
    """As `spec` tells it; the model itself holds lists, and so cannot be hashed."""


@dataclass(frozen=True)
class _Built:
    """A pydantic-ai agent, which all work of the same kind shares."""

    agent: Agent[ToolCalls, object]
    outputs: dict[str, int] = field(default_factory=dict)
    """The most output tokens seen in one answer, by tier."""


async def run_agent(call: AgentCall, services: AgentServices) -> AgentResult:
    """Let an agent do one work item.

    What models and tools answer is in the log before it is used; performed again after a crash,
    the work goes on where it stopped. The first tier that answers is used; a tier without a
    connection is passed over; without any, the `offline` skill answers.

    Raises:
        TransientError: no model can be reached now; asking again later may help.
        BudgetExceeded, LimitReached: the next call was not made.
        OutcomeUnknown: what a tool began may have happened, and nobody can tell.
        Final: another agent performed an effect of this work item, or a model did and now there is none, or the other
        way
            round: it might be performed twice, so a person decides.
        BadOutput: the model's answers never fitted.
        BreakerOpen: the agent, or every tier it has, has failed too often and is left alone for now.
        NoModel: there is neither a model nor an `offline` skill.
        PermanentError: every model refused the request; or the agent's program failed, as `run_command` says.
    """
    returns = call.returns if call.returns is not None else call.agent.returns
    output = None if returns is None else resolve(returns, services.site)
    if call.agent.command is not None:
        return await _run_program(call, services, output)
    tiers = await connected(call.agent.tiers, services.models)
    # Before anybody is asked: it is known by now whether a model or `offline` would do the work.
    await _ensure_its_own(call, services, asks=bool(tiers))
    if not tiers:
        return await _offline(call, services, output)
    if "muster.agents.tiered" not in sys.modules:
        # The first import of pydantic-ai takes seconds: not on the event loop.
        await asyncio.to_thread(importlib.import_module, "muster.agents.tiered")
    name = f"agent:{call.agent.id}"
    async with Guard(breakers_of(services.database), name, policy_of(call.settings, name), _judge):
        return await _ask_models(call, services, tiers, output)


async def _ensure_its_own(call: AgentCall, services: AgentServices, *, asks: bool) -> None:
    """Ensure that what the work item did outside was done by this agent and in this way: with a model, or `offline`.

    Another would ask for the same effect in other words, and so under another key: it would happen twice.

    Raises:
        Final: an effect of the work item happened, or may have, and was not performed by this agent in this way.
    """
    outside = await Ledger(services.database).aoutside(call.run, call.effect_key)
    if outside is None:
        return
    agent, asked = doer(call.effect_key, outside.key)
    if (agent, asked) == (call.agent.id if call.takes_over else None, asks):
        return
    name = call.agent.id
    untried = f"so the agent {name} was not asked." if asks else f"so the `offline` skill of {name} was not called."
    connection = "with a connection to the model that called for it" if asked else "without a connection to a model"
    raise outside.keeps(untried, f"Restart the step {connection}: what has happened is not repeated.")


async def _run_program(call: AgentCall, services: AgentServices, output: OutputType | None) -> AgentResult:
    from muster.agents.command import run_command

    await _ensure_its_own(call, services, asks=False)
    if not getattr(services.models, "programs", True) and call.agent.offline is not None:
        return await _offline(call, services, output)
    run, name = _run(services.log, call.run, call.budget), f"agent:{call.agent.id}"
    async with Guard(breakers_of(services.database), name, policy_of(call.settings, name), _judge):
        return await run_command(call, services, output, run.journal, run.budget)


def _judge(error: BaseException) -> Verdict:
    return "failure" if isinstance(error, BadOutput) else transient_is_failure(error)


async def _offline(call: AgentCall, services: AgentServices, output: OutputType | None) -> AgentResult:
    if call.agent.offline is None:
        raise _no_model(call.agent)
    skill = get_skill(call.agent.offline, services.site)
    given = {"ask": call.ask, **call.data}
    arguments = {name: given[name] for name in skill.input_model.model_fields if name in given}
    value = await call_skill(skill, arguments, _context(call, services, call.effect_key))
    value = value if output is None else output.check(value)
    if call.refuses is not None and (why := call.refuses(value)) is not None:
        raise PermanentError(f"What {skill.name} gives for {call.agent.id} cannot be taken: {why}")
    output_type = f"skill:{skill.name}" if output is None else output.returns
    return AgentResult(output=value, output_type=output_type, produced_by=RULES)


async def _ask_models(
    call: AgentCall, services: AgentServices, tiers: list[Tier], output: OutputType | None
) -> AgentResult:
    from pydantic_ai import UsageLimits
    from pydantic_ai.exceptions import UnexpectedModelBehavior

    from muster.agents.tiered import ModelRequestContext, TieredModel
    from muster.agents.tools import ToolCalls

    run = _run(services.log, call.run, call.budget)
    recorded = await Recorded.load(run.journal, call.key, call.agent.limits.requests)
    built = _built(_Kind(call.agent.model_dump_json(), output, services.site, call.agent))
    model = TieredModel(
        tiers,
        call,
        ModelRequestContext(
            journal=run.journal,
            recorded=recorded,
            prices=price_table(call.settings),
            budget=run.budget,
            breakers=breakers_of(services.database),
            ledger=Ledger(services.database),
            outputs=built.outputs,
        ),
    )
    calls = ToolCalls(call, partial(_context, call, services), run.journal, recorded)
    try:
        result = await built.agent.run(
            prompts.request(call.ask, call.data),
            model=model,
            deps=calls,
            # No limit of pydantic-ai's: `TieredModel` and `ToolCalls` check the agent's limits before each call,
            # recorded answers included.
            usage_limits=UsageLimits(request_limit=None),
        )
    except UnexpectedModelBehavior as error:
        raise BadOutput(
            f"The agent {call.agent.id} gave no usable answer: {calls.refused or error}".rstrip(".") + ".",
            remedy="See the run's `model.called` events; a stronger model or clearer instructions may help.",
        ) from error
    tally = model.tally
    return AgentResult(
        output=result.output if output is None else output.dump(result.output),
        output_type=None if output is None else output.returns,
        produced_by=f"model:{tally.tier}:{tally.model}",
        cost=tally.cost,
        requests=tally.requests,
        tool_calls=calls.count,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
    )


def _context(call: AgentCall, services: AgentServices, key: str) -> SkillContext:
    agent = call.agent.id if call.takes_over else None
    # What is written through `context.database` is an effect of this key: in other words, or by another agent, it would
    # be written a second time.
    writing = Effect.of(effect_key(key, agent, "context.database"), "database", None, call.run)
    return SkillContext(
        run=call.run,
        step=call.step,
        index=call.index,
        key=key,
        agent=agent,
        now=services.clock(),
        database=fenced(services.database, writing),
        workspace=services.workspace(call.run),
        settings=call.settings,
        documents=call.documents,
        together=call.together,
    )


@lru_cache(maxsize=256)
def _built(kind: _Kind) -> _Built:
    from pydantic_ai import Agent, ModelSettings

    from muster.agents.tools import ToolCalls, tools

    agent, output = kind.agent, kind.output
    settings = ModelSettings() if agent.temperature is None else ModelSettings(temperature=agent.temperature)
    built: Agent[ToolCalls, object] = Agent(
        name=agent.id,
        output_type=str if output is None else _asked_for(output),
        instructions=prompts.instructions(agent),
        deps_type=ToolCalls,
        tools=tools(agent.tools, kind.site),
        model_settings=settings,
        retries={"tools": TOOL_RETRIES, "output": agent.retries},
    )
    if output is not None:
        built.output_validator(partial(_must_fit, output))
    built.output_validator(partial(_must_be_taken, output))
    return _Built(built)


def _asked_for(output: OutputType) -> Any:
    """What pydantic-ai asks a model for."""
    from pydantic_ai import StructuredDict

    if isinstance(output.returns, str) or output.returns.get("type") != "object":
        return output.annotation
    return StructuredDict(dict(output.returns))


def _must_fit(output: OutputType, value: object) -> object:
    """Send an answer back to the model if it has the shape that was asked for and still does not fit the type."""
    from pydantic_ai import ModelRetry

    try:
        return output.adapter.validate_python(value)
    except ValidationError as error:
        raise ModelRetry("; ".join(item["msg"] for item in error.errors())) from error


def _must_be_taken(output: OutputType | None, context: RunContext[ToolCalls], value: object) -> object:
    """Send an answer back to the model if it fits and still cannot be taken, with the reason."""
    from pydantic_ai import ModelRetry

    if (why := context.deps.refusal(value if output is None else output.dump(value))) is not None:
        raise ModelRetry(why)
    return value


def _no_model(agent: AgentSpec) -> NoModel:
    tier = agent.tiers[0] if agent.tiers else "muster_default"
    names = ", ".join(agent.tiers) or "none"
    return NoModel(
        f"The agent {agent.id} has no `offline` skill and no connected model (its tiers: {names}).",
        remedy=f"Connect a model by setting AIRFLOW_CONN_{tier.upper()}, as docs/models.md shows.",
    )
