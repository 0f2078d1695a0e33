"""An agent that is an outside program: what it is told, what it may say, and what that means.

docs/agents/command_agents.md is the protocol.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NoReturn

from muster.agents.budget import Budget
from muster.agents.call import AgentCall, AgentResult, AgentServices
from muster.agents.errors import BadOutput, LimitReached
from muster.agents.journal import Journal, model_key
from muster.errors import BudgetExceeded, ErrorClass, PermanentError, TransientError
from muster.events.canonical import digest
from muster.events.model import Event, NewEvent
from muster.events.payloads.work import ModelCalled
from muster.isolation.places import Place, place_of
from muster.isolation.running import Program, TooMuchOutput, running
from muster.isolation.spec import Settled, settled
from muster.redaction import redact, redact_data

if TYPE_CHECKING:
    from muster.agents.types import OutputType
    from muster.isolation.order import Ended

log = logging.getLogger(__name__)

PROTOCOL = 1
"""The version of the protocol, which every request says."""
TIER = "command"
"""`tier` of what programs gave, where models name their connection."""
GRACE = 5.0
"""Seconds that a program may take to end after its last line."""
_LONGEST = 500
"""Characters of a text of the program's that are shown."""
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@dataclass
class Said:
    """What a program has said so far."""

    agent: str
    cost: Decimal = Decimal(0)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOKENS, 0))
    final: Mapping[str, object] | None = None
    """Its `result` or `error`."""

    def take(self, line: bytes) -> None:
        """One line.

        Raises:
            BadOutput: it is none of the protocol.
        """
        if not line.strip():
            return
        try:
            said = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or not isinstance(kind := said.get("type"), str):
            self._refuse(line, "is no JSON object with a `type`")
        match kind:
            case "progress" | "log":
                self._note(said)
            case "cost":
                self._count(line, said)
            case "result" if "output" in said:
                self.final = said
            case "error" if isinstance(said.get("message"), str):
                self.final = said
            case "result" | "error":
                self._refuse(line, f"is a `{kind}` without `{'output' if kind == 'result' else 'message'}`")
            case _:
                self._refuse(line, f"has the unknown type `{_short(kind)}`")

    def _note(self, said: Mapping[str, object]) -> None:
        fraction = said.get("fraction")
        share = f"{fraction:.0%} " if isinstance(fraction, int | float) and 0 <= fraction <= 1 else ""
        level = _LEVELS.get(str(said.get("level", "info")), logging.INFO)
        log.log(level, "agent %s: %s%s", self.agent, share, _short(str(said.get("message", ""))))

    def _count(self, line: bytes, said: Mapping[str, object]) -> None:
        try:
            cost = Decimal(str(said.get("usd", 0)))
        except InvalidOperation:
            cost = Decimal(-1)
        if not (cost.is_finite() and 0 <= cost < 10**6):
            self._refuse(line, "gives no usable `usd`")
        self.cost += cost
        for name in _TOKENS:
            amount = said.get(name, 0)
            if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount < 10**12:
                self._refuse(line, f"gives no usable `{name}`")
            self.usage[name] += amount

    def _refuse(self, line: bytes, what: str) -> NoReturn:
        raise BadOutput(
            f"The program of the agent {self.agent} wrote a line that {what}: "
            f"{redact(_short(line.decode(errors='replace')))!r}.",
            remedy="It may write nothing but the lines of the protocol to its standard output; the rest belongs to the"
            " standard error.",
        )


async def run_command(
    call: AgentCall, services: AgentServices, output: OutputType | None, journal: Journal, budget: Budget | None
) -> AgentResult:
    """Have the agent's program do one work item, in a workspace of its own.

    What it gave is in the log before it is used: performed again after a crash, the work finds it there.

    Raises:
        BadOutput: what it wrote is not of the protocol, or does not fit what it should give.
        LimitReached, BudgetExceeded: it was ended at a limit.
        NotIsolated: it was not started, because the machine cannot hold it to what was demanded.
        TransientError: it failed, or was killed, in a way that may pass.
        PermanentError: it says that it cannot do it, or it cannot be started.
    """
    command = call.agent.command
    assert command is not None
    # It has no `effect_key` and no deadline in it: the same work asked again is the same request.
    request = _request(call, output)
    question = digest({"program": command.program, **request})
    key = model_key(call.key, 0)
    event = (await journal.lookup([key])).get(key)
    if event is None or ModelCalled.of(event).request != question:
        event = await _performed(call, services, settled(command, call.settings), request, question, journal, budget)
    said = ModelCalled.of(event)
    given = said.response["output"]
    return AgentResult(
        output=given if output is None else _fitting(call, output, given),
        output_type=None if output is None else output.returns,
        produced_by=f"{TIER}:{said.model}",
        cost=Decimal(said.cost or 0),
        requests=1,
        input_tokens=said.usage["input_tokens"],
        output_tokens=said.usage["output_tokens"],
    )


def _request(call: AgentCall, output: OutputType | None) -> dict[str, object]:
    return {
        "protocol": PROTOCOL,
        "agent": call.agent.id,
        "run": call.run,
        "step": call.step,
        "index": call.index,
        "role": call.agent.role,
        "instructions": redact(call.agent.instructions),
        "ask": redact(call.ask),
        "data": redact_data(json.loads(json.dumps(call.data, default=str))),
        "returns": None if output is None else output.adapter.json_schema(),
    }


def _fitting(call: AgentCall, output: OutputType, given: object) -> object:
    try:
        return output.check(given)
    except PermanentError as error:
        raise BadOutput(f"What the program of the agent {call.agent.id} gave does not fit: {error.message}") from error


async def _performed(
    call: AgentCall,
    services: AgentServices,
    means: Settled,
    request: Mapping[str, object],
    question: str,
    journal: Journal,
    budget: Budget | None,
) -> Event:
    estimate = call.agent.limits.usd or Decimal(0)
    if budget is not None:
        await budget.reserve(estimate)
    said, event = Said(call.agent.id), None
    try:
        folder = await asyncio.to_thread(services.workspace, call.run)
        async with place_of(means, folder, _include(services.site), _identity(call)) as place:
            given = await _work(call, means, place, request, said)
            result = await place.finished(given)
        event = await journal.record(_told(call, question, said, result, key=model_key(call.key, 0)))
        return event
    except BaseException:
        if said.cost:
            # It was paid for all the same; without a key, because another attempt is another answer.
            event = await journal.record(_told(call, question, said, None, key=None))
        raise
    finally:
        if budget is not None:
            version = None if event is None else event.version
            budget.settle(estimate, said.cost if event is not None else Decimal(0), version)


def _identity(call: AgentCall) -> dict[str, object]:
    return {"run": call.run, "step": call.step, "index": call.index, "key": call.key, "agent": call.agent.id}


def _include(site: Path | None) -> Path | None:
    return None if site is None else site.parent


def _told(call: AgentCall, question: str, said: Said, output: object, *, key: str | None) -> NewEvent:
    assert call.agent.command is not None
    return ModelCalled(
        step=call.step,
        index=call.index,
        agent=call.agent.id,
        tier=TIER,
        model=PurePath(call.agent.command.program[0]).name,
        request=question,
        prompt=[{"kind": "command", "text": redact(call.ask)}],
        response={"parts": [], "output": output},
        usage=said.usage,
        cost=f"{said.cost.normalize():f}",
        failed=[],
    ).event(actor=call.agent.id, key=key)


async def _work(call: AgentCall, means: Settled, place: Place, request: Mapping[str, object], said: Said) -> object:
    """Run the program; return what it gave."""
    asked = {**request, "key": call.effect_key, "workspace": str(place.work), "seconds": means.limits["seconds"]}
    line = json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    async with running(place.order, line, most=means.limits["output_kb"] * 1024) as program:
        try:
            async for written in program.lines():
                said.take(written)
                if call.agent.limits.usd is not None and said.cost > call.agent.limits.usd:
                    raise BudgetExceeded(
                        f"The program of the agent {call.agent.id} has spent ${said.cost} and may spend"
                        f" ${call.agent.limits.usd}, so it was ended."
                    )
                if said.final is not None:
                    break
        except TooMuchOutput:
            raise _limit(call, means, "output_kb") from None
        return _answer(call, means, program, said, await program.ended(GRACE if said.final is not None else None))


def _answer(call: AgentCall, means: Settled, program: Program, said: Said, ended: Ended | None) -> object:
    agent, complaints = call.agent.id, _complaints(program)
    if ended is None:
        raise TransientError(f"What watches over the program of the agent {agent} was killed, and the program with it.")
    if ended.error is not None:
        raise PermanentError(f"The program of the agent {agent} could not be started: {ended.error}.")
    limit = ended.limit or _BY_SIGNAL.get(-(ended.code or 0))
    if limit is not None:
        raise _limit(call, means, limit)
    if said.final is not None and said.final["type"] == "error":
        raise _failure(agent, said.final)
    if ended.code and not (ended.stopped and said.final is not None):
        how = f"ended with the code {ended.code}" if ended.code > 0 else f"was killed by the signal {-ended.code}"
        raise TransientError(f"The program of the agent {agent} {how}{complaints}.")
    if said.final is None:
        raise BadOutput(f"The program of the agent {agent} ended without a `result` or an `error`{complaints}.")
    return said.final["output"]


def _failure(agent: str, said: Mapping[str, object]) -> Exception:
    message = f"The agent {agent} could not do it: {redact(_short(str(said['message'])))}"
    kind = TransientError if said.get("retry") is True else PermanentError
    return kind(message)


_BY_SIGNAL: Mapping[int, str] = {signal.SIGXFSZ: "disk_mb", signal.SIGXCPU: "cpu_seconds"}
"""The limits at which the system itself ends a process."""
_LIMITED = {
    "seconds": ("worked for longer than {} s", "seconds"),
    "cpu_seconds": ("took more than {} s of processors' time", "cpu_seconds"),
    "memory_mb": ("took more than {} MiB of memory", "memory_mb"),
    "processes": ("had more than {} processes and threads", "processes"),
    "disk_mb": ("put more than {} MiB into its workspace", "disk_mb"),
    "files": ("put more than {} files into its workspace", "files"),
    "output_kb": ("wrote more than {} KiB to its standard output", "output_kb"),
}


def _limit(call: AgentCall, means: Settled, limit: str) -> Exception:
    what = _LIMITED[limit][0].format(means.limits[limit])
    message = f"The program of the agent {call.agent.id} {what}, so it was ended with all that it had begun."
    remedy = f"Make its task smaller, or raise `limits.{limit}` of the command."
    if limit == "seconds":
        return TransientError(message, remedy=remedy, error_class=ErrorClass.TIMEOUT)
    return LimitReached(message, remedy=remedy)


def _complaints(program: Program) -> str:
    lines = program.complaints.decode(errors="replace").strip().splitlines()
    return f"; the end of its standard error: {redact(_short(' | '.join(lines[-5:])))}" if lines else ""


def _no_number(name: str) -> NoReturn:
    """JSON has no such number, though Python reads it."""
    raise ValueError(name)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
