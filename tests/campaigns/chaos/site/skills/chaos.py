"""What the automations of the fault campaign do outside: each effect is told to a witness that is never broken."""

from __future__ import annotations

import os
from typing import Any

import httpx

from muster.errors import PermanentError
from muster.recovery import NEVER_HAPPENED, Happened
from muster.recovery.ledger import EffectResult
from muster.skills import SkillContext, skill

PATIENCE = 10.0
PAPER = 32 * 1024
"""Bytes of the file a run writes."""


@skill("chaos.book")
def book(context: SkillContext) -> int:
    """An effect from a task process."""
    return _once(context)


@skill("chaos.call", lane="async")
async def call(context: SkillContext) -> int:
    """The same from the triggerer."""
    return await _aonce(context)


@skill("chaos.note", lane="async")
async def note(text: str, context: SkillContext) -> int:
    """The same by an agent's tool."""
    return await _aonce(context)


@skill("chaos.pay", lane="async")
async def pay(context: SkillContext) -> int:
    """An effect that nobody can ask about afterwards: one in doubt waits for a person."""
    return await context.effect("do", kind="payment", request={"run": context.run}).aperform(lambda: _ado(context))


@skill("chaos.pay_by_hand")
def pay_by_hand(context: SkillContext) -> int:
    """The same from a task process."""
    return context.effect("do", kind="payment", request={"run": context.run}).perform(lambda: _do(context))


@skill("chaos.undo")
def undo(context: SkillContext, stuck: bool = False) -> None:
    """Takes back what the other side knows of; when `stuck`, only once somebody has mended it."""
    _ask("undo", stuck=stuck, **_work(context))


@skill("chaos.write")
def write(context: SkillContext) -> str:
    """Write a file into the run's folder, and let the witness know."""
    path = context.workspace / "papers"
    with path.open("wb") as file:
        file.write(b"x" * PAPER)
        file.flush()
        os.fsync(file.fileno())
    _once(context)
    return path.name


@skill("chaos.remove")
def remove(context: SkillContext) -> None:
    """Remove the file again."""
    (context.workspace / "papers").unlink(missing_ok=True)
    _ask("undo", stuck=False, **_work(context))


@skill("chaos.advise", lane="async")
async def advise() -> dict[str, bool]:
    """What is done when no model answers."""
    return {"good": False}


@skill("chaos.end", lane="async")
async def end(fails: bool) -> str:
    """The last step, which fails for good when the run is meant to."""
    if fails:
        raise PermanentError("This run is meant to fail.")
    return "done"


def _once(context: SkillContext) -> int:
    """The other side would perform it as often as it is asked: the ledger alone keeps it to one."""

    def find_out() -> Happened | EffectResult:
        receipt = _ask("find", order=context.key)
        return Happened(receipt) if receipt else NEVER_HAPPENED

    return context.effect("do", request={"run": context.run}, find_out=find_out).perform(lambda: _do(context))


async def _aonce(context: SkillContext) -> int:
    async def find_out() -> Happened | EffectResult:
        receipt = await _aask("find", order=context.key)
        return Happened(receipt) if receipt else NEVER_HAPPENED

    effect = context.effect("do", request={"run": context.run}, find_out=find_out)
    return await effect.aperform(lambda: _ado(context))


def _do(context: SkillContext) -> int:
    return _ask("do", order=context.key, **_work(context))


async def _ado(context: SkillContext) -> int:
    return await _aask("do", order=context.key, **_work(context))


def _work(context: SkillContext) -> dict[str, Any]:
    return {"run": context.run, "step": context.step, "index": context.index}


def _ask(path: str, **body: Any) -> int:
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return _read(client.post(f"{os.environ['CHAOS_WITNESS']}/{path}", json=body))


async def _aask(path: str, **body: Any) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return _read(await client.post(f"{os.environ['CHAOS_WITNESS']}/{path}", json=body))


def _read(answer: httpx.Response) -> int:
    if answer.status_code == 423:
        raise PermanentError("It cannot be taken back now.")
    answer.raise_for_status()
    return int(answer.json()["receipt"])
