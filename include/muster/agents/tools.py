"""Skills as an agent's tools: only the named ones, journaled, bounded, and never the same call for ever.

Imported only when a model is asked: it brings pydantic-ai along.
"""
# ruff: noqa: TID253

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic_ai import ModelRetry, RunContext, Tool
from pydantic_ai.messages import ModelResponse, ToolCallPart

from muster.agents.call import AgentCall
from muster.agents.errors import BadOutput, LimitReached
from muster.agents.journal import Journal, Recorded, tool_key
from muster.errors import MusterError, PermanentError, TransientError
from muster.events.canonical import digest
from muster.events.model import Event
from muster.events.payloads.base import RecordedError
from muster.events.payloads.work import ToolCalled
from muster.events.sealing import is_marker
from muster.recovery.ledger import Ledger, OutcomeUnknown
from muster.redaction import redact_data
from muster.skills.calling import call_skill
from muster.skills.registry import Skill, SkillContext, get_skill

MOST_REPEATS = 3
"""The same tool with the same arguments this often ends the work: the model is going round in circles."""

FORGOTTEN_RESULT = "It was done before, and stands; what it gave back was forgotten."
"""What a model is told in place of the result of an effect about somebody who was forgotten since."""


class ToolCalls:
    """The tool calls of one work item; pydantic-ai hands it to every tool as `ctx.deps`."""

    def __init__(
        self, call: AgentCall, context: Callable[[str], SkillContext], journal: Journal, recorded: Recorded
    ) -> None:
        self.count = 0
        self.refused: str | None = None
        """Why the last answer could not be taken."""
        self._call = call
        self._context = context
        self._journal = journal
        self._recorded = recorded
        self._seen: Counter[str] = Counter()

    def refusal(self, output: object) -> str | None:
        """Why what the agent answers cannot be taken; None when it can."""
        self.refused = None if self._call.refuses is None else self._call.refuses(output)
        return self.refused

    async def perform(self, skill: Skill, arguments: dict[str, object], number: int, position: int) -> object:
        """The tool's result as JSON-ready data, recorded before it is returned.

        Raises:
            ModelRetry: the tool failed or was just called like this; the model is told why.
            TransientError: something outside failed in a way that may pass: not for the model to mend.
            Exception: the tool failed with an effect in doubt; the attempt ends, and the next one finds out.
            BadOutput: the same call was made too often; the step's `retry` asks the agent afresh.
            LimitReached: the agent's limit of tool calls is used up; the step fails.
        """
        self._check(skill, arguments)
        key = tool_key(self._call.key, number, position)
        call = self._call
        said = ToolCalled(
            step=call.step,
            index=call.index,
            agent=call.agent.id,
            tool=skill.name,
            # Redacted, as the log will have them: compared as they came, a recorded call would not be found again.
            arguments=redact_data(arguments),
        )
        event = self._recorded.find(key, partial(_is_same, said))
        if event is None:
            event = await self._record(key, await self._outcome(skill, arguments, said))
        answer = ToolCalled.of(event)
        if answer.error is not None:
            raise ModelRetry(answer.error.message)
        return FORGOTTEN_RESULT if is_marker(answer.result) else answer.result

    def _check(self, skill: Skill, arguments: Mapping[str, object]) -> None:
        agent = self._call.agent
        if agent.limits.tool_calls is not None and self.count >= agent.limits.tool_calls:
            raise LimitReached(
                f"The agent {agent.id} has made all of its {agent.limits.tool_calls} tool calls.",
                remedy="Raise `limits.tool_calls` of the agent, or make its task smaller.",
            )
        self.count += 1
        same = f"{skill.name} {sorted(arguments.items())!r}"
        self._seen[same] += 1
        if self._seen[same] >= MOST_REPEATS:
            raise BadOutput(
                f"The agent {agent.id} called {skill.name} {MOST_REPEATS} times with the same arguments.",
                remedy="Say in its instructions what to do with the tool's answer, or use a stronger model.",
            )
        if self._seen[same] > 1:
            raise ModelRetry(
                f"You called {skill.name} with these arguments before; the answer is above and will not"
                " change. Use it, or call with other arguments."
            )

    async def _outcome(self, skill: Skill, arguments: dict[str, object], said: ToolCalled) -> ToolCalled:
        # The key is made of what is asked for, not of the call's place in the conversation: an agent that is asked
        # afresh after a bad answer calls the tool again at another place, and finds what it did the first time.
        context = self._context(f"{self._call.effect_key}/tool/{skill.name}/{digest(arguments)[:16]}")
        try:
            async with context.guard(f"tool:{skill.name}"):
                return replace(said, result=await call_skill(skill, arguments, context))
        # Not told to the model, which would try something else: the step's `retry` waits and makes the same call.
        except TransientError:
            raise
        except Exception as error:
            # An effect in doubt ends the attempt. A model that is told of the error would call with other arguments,
            # which is another effect beside one that may have happened. The next attempt makes the same call and finds
            # out.
            outside = await Ledger(context.database).aoutside(context.run, context.key)
            if outside is not None and outside.status != "done":
                raise
            kind = type(error).__name__
            # The text of others may hold what no model should see: a path, a query, a secret.
            told = str(error) if isinstance(error, MusterError) else f"{skill.name} failed: {kind}"
            if outside is not None:
                told = f"What {skill.name} did has happened and stands; it failed after that: {told}"
            return replace(said, error=RecordedError(class_=kind, message=told))

    async def _record(self, key: str, said: ToolCalled) -> Event:
        new = said.event(actor=said.agent, key=key)
        event = await self._journal.record(new)
        if not _is_same(said, event):
            # Another version of the program called something else here first, so that result keeps the key.
            event = await self._journal.record(replace(new, key=f"{key}~{self.count}"))
        return event


def _is_same(said: ToolCalled, event: Event) -> bool:
    """True if the event is the answer to the same call."""
    recorded = ToolCalled.of(event)
    return (recorded.tool, recorded.arguments) == (said.tool, said.arguments)


async def ensure_nothing_in_doubt(ledger: Ledger, call: AgentCall) -> None:
    """Ensure, before a model is asked a new question, that no effect of the work item is in doubt.

    A model that decides afresh may have the same done again, in other words and so under another key.

    Raises:
        OutcomeUnknown: something that a tool of this work item began may have happened.
    """
    # All tools that the last answer asked for have ended by now, so an effect that is only begun is in doubt as well.
    outside = await ledger.aoutside(call.run, call.effect_key)
    if outside is not None and outside.status != "done":
        raise OutcomeUnknown.of(outside.key, f"{outside.told}, so the agent {call.agent.id} was not asked to go on.")


def tools(names: Sequence[str], site: Path | None) -> list[Tool[ToolCalls]]:
    """The named skills as tools; a model sees `finance.find_order` as `finance_find_order`.

    Raises:
        MusterError: a skill does not exist.
        PermanentError: two of them would be seen under one name.
    """
    offered = [_tool(get_skill(name, site)) for name in names]
    if len({tool.name for tool in offered}) < len(offered):
        which = ", ".join(names)
        raise PermanentError(f"Two of the tools {which} look the same to a model.", remedy="Rename one.")
    return offered


def _tool(skill: Skill) -> Tool[ToolCalls]:
    async def call(ctx: RunContext[ToolCalls], **arguments: object) -> object:
        number, position = _place(ctx)
        return await ctx.deps.perform(skill, arguments, number, position)

    tool: Tool[ToolCalls] = Tool.from_schema(
        call,
        name=skill.name.replace(".", "_"),
        description=inspect.getdoc(skill.function),
        json_schema=skill.input_model.model_json_schema(),
        takes_ctx=True,
    )
    return tool


def _place(ctx: RunContext[ToolCalls]) -> tuple[int, int]:
    """Which answer of the model asked for this call, and as which of its calls."""
    answers = [message for message in ctx.messages if isinstance(message, ModelResponse)]
    calls = [part for part in answers[-1].parts if isinstance(part, ToolCallPart)]
    position = next(place for place, part in enumerate(calls) if part.tool_call_id == ctx.tool_call_id)
    return len(answers) - 1, position
