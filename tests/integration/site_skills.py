"""Skills that integration tests put into a site. A server outside counts each thing they do, repetitions included."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from urllib.request import Request, urlopen

from muster.recovery import NEVER_HAPPENED, Happened
from muster.recovery.ledger import EffectResult
from muster.skills import SkillContext, skill


@skill("proving.note")
def note(text: str, context: SkillContext, seconds: float = 0) -> str:
    """Have an effect, work a while, have another."""
    _once(context, "first")
    time.sleep(seconds)
    _once(context, "last")
    return text


@skill("proving.wait", lane="async")
async def wait(seconds: float, context: SkillContext) -> float:
    """The same in the triggerer."""
    await asyncio.to_thread(_once, context, "first")
    await asyncio.sleep(seconds)
    await asyncio.to_thread(_once, context, "last")
    return seconds


@skill("proving.torn")
def torn() -> str:
    """What is read from a broken document: PostgreSQL stores neither character in a text."""
    return "torn \0 \ud800"


@skill("proving.torn_too", lane="async")
async def torn_too() -> dict[str, str]:
    """The same in the triggerer."""
    return {"torn \0": torn()}


def _once(context: SkillContext, name: str) -> None:
    """An effect that the witness performs as often as it is asked to: the ledger alone keeps it to one."""
    url = f"{os.environ['PROVING_WITNESS']}{context.key}/{name}"

    def find_out() -> Happened | EffectResult:
        times = _ask(Request(url))
        return Happened(times) if times else NEVER_HAPPENED

    effect = context.effect(name, request={"url": url}, find_out=find_out)
    effect.perform(lambda: _ask(Request(url, method="POST")))


def _ask(request: Request) -> int:
    with urlopen(request, timeout=10) as answer:
        return int(json.load(answer))


@skill("proving.fall")
def fall(seconds: float, context: SkillContext) -> float:
    """Have an effect, and kill the process the first time; have another effect the second time."""
    _once(context, "first")
    url = f"{os.environ['PROVING_WITNESS']}{context.key}/fell"
    if not _ask(Request(url)):
        _ask(Request(url, method="POST"))
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    _once(context, "last")
    return seconds
