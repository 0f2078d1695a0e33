"""Of two executions of the same work that live one does it, however long it takes; a server and a table count."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.execution import overtaken, retrying
from muster.operations.cancelling import request_cancel
from muster.recovery import heartbeats
from support.bank import BankServer
from support.runs import Site
from support.waiting import eventually

SECONDS = 3.0
"""How long the work takes: longer than who was overtaken waits for a sign of life."""
SKILLS = f'''
import asyncio
import time
from muster.errors import TransientError
from muster.skills import SkillContext, skill
from support.bank import charge

@skill("shop.long")
def long(url: str, context: SkillContext) -> None:
    """Takes long, and writes at its end."""
    charge(url, "asked")
    time.sleep({SECONDS})
    with context.database.connection() as connection:
        connection.execute("INSERT INTO done VALUES (%s)", (context.run,))

@skill("shop.along", lane="async")
async def along(url: str, context: SkillContext) -> None:
    """The same, as a coroutine."""
    await asyncio.to_thread(charge, url, "asked")
    await asyncio.sleep({SECONDS})
    async with context.database.aconnection() as connection:
        await connection.execute("INSERT INTO done VALUES (%s)", (context.run,))

@skill("shop.later", lane="async")
async def later(url: str) -> None:
    """Refuses the first time, and takes long the second."""
    if await asyncio.to_thread(charge, url, "asked") == 1:
        raise TransientError("later")
    await asyncio.sleep(1)
'''
EACH = 'each: "{{ [1, 2] }}", '
SHAPES = {
    "single": ("", None),
    "mapped": (EACH, 1),
    "packed": (EACH + "pack: 2, ", 0),
    "whole": (EACH + "pack: all, ", None),
}


@pytest.fixture
def site(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path, database)
    made.skills("shop", SKILLS)
    with database.connection() as connection:
        connection.execute("CREATE TABLE done (run text)")
    monkeypatch.setattr(overtaken, "LONGEST_WAIT", 1.0)
    monkeypatch.setattr(overtaken, "LOOK", 0.05)
    monkeypatch.setattr(heartbeats, "BEAT", 0.1)
    return made


def begun(site: Site, bank: BankServer, shape: str, skill: str) -> str:
    step = f"{{id: work, {SHAPES[shape][0]}skill: {skill}, with: {{url: '{bank.url}'}}}}"
    run = site.open(site.definition(f"automation: tested\nsteps:\n  - {step}\n"))
    if SHAPES[shape][1] is not None:
        site.expand(run, "work")
    return run


def performing(site: Site, run: str, shape: str) -> BaseProcess:
    """A process that performs the work, and does so again as Airflow would, but not for ever."""

    def perform() -> None:
        mine = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
        for _ in range(3):
            try:
                assert mine.step(run, "work", SHAPES[shape][1]).status == "succeeded"
            except overtaken.Overtaken:
                continue
            return

    process = multiprocessing.get_context("fork").Process(target=perform)
    process.start()
    return process


def done(site: Site) -> int:
    with psycopg.connect(site.services.database.dsn) as connection:
        return len(connection.execute("SELECT FROM done").fetchall())


@pytest.mark.parametrize("skill", ["shop.long", "shop.along"])
@pytest.mark.parametrize("shape", SHAPES)
def test_who_was_overtaken_leaves_the_work_to_the_other_while_that_lives(
    site: Site, bank: BankServer, shape: str, skill: str
) -> None:
    items = 1 if shape in ("single", "mapped") else 2
    run = begun(site, bank, shape, skill)
    first = performing(site, run, shape)
    assert eventually(lambda: bank.charges["asked"] == items)
    time.sleep(SECONDS * 0.5)
    second = performing(site, run, shape)
    first.join(60)
    second.join(60)
    assert (first.exitcode, second.exitcode) == (0, 0)
    assert (bank.charges["asked"], done(site)) == (2 * items, items), "each of them began it once"


@pytest.mark.parametrize("skill", ["shop.long", "shop.along"])
def test_who_was_overtaken_does_the_work_when_the_other_has_died(site: Site, bank: BankServer, skill: str) -> None:
    run = begun(site, bank, "single", skill)
    first = performing(site, run, "single")
    assert eventually(lambda: bank.charges["asked"] == 1)
    second = performing(site, run, "single")
    assert eventually(lambda: bank.charges["asked"] == 2)
    second.kill()
    second.join(60)
    first.join(60)
    assert first.exitcode == 0
    assert (bank.charges["asked"], done(site)) == (3, 1)


def test_who_was_overtaken_skips_nothing_that_another_has_begun(
    site: Site, bank: BankServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stalls after its start; the run is cancelled while the other one does the work."""
    definition = site.definition(
        "automation: tested\ninputs: {url: {type: string}}\nsteps:\n"
        '  - {id: work, skill: shop.along, with: {url: "{{ inputs.url }}"}}\n'
    )
    run, cancelled = site.open(definition, url=bank.url), threading.Event()

    def cancel() -> None:
        elsewhere = Database(site.services.database.dsn)
        request_cancel(EventLog(elsewhere), run, by="ann")
        elsewhere.close()
        cancelled.set()

    bank.meanwhile = cancel
    other = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
    outcomes: list[str] = []
    worker = threading.Thread(target=lambda: outcomes.append(other.step(run, "work").status))
    append = site.services.log.aappend

    async def stalled(stream: str, events: Any, **more: Any) -> Any:
        stored = await append(stream, events, **more)
        if events[0].type == "step.started":
            worker.start()
            assert await asyncio.to_thread(cancelled.wait, 30)
        return stored

    monkeypatch.setattr(site.services.log, "aappend", stalled)
    assert site.step(run, "work").status == "succeeded"
    worker.join()
    assert outcomes == ["succeeded"]
    assert [event.type for event in site.services.log.read(run)].count("step.skipped") == 0


@pytest.mark.parametrize("lane", ["async", "worker"])
@pytest.mark.parametrize("lock", ["", "lock: ledger, "])
@pytest.mark.parametrize("shape", SHAPES)
def test_nor_does_one_that_was_overtaken_between_two_attempts(
    site: Site, bank: BankServer, monkeypatch: pytest.MonkeyPatch, shape: str, lock: str, lane: str
) -> None:
    """Its pause is long; the run is cancelled while the other one does the work."""
    each, slot = SHAPES[shape][0].replace("[1, 2]", "[1]"), None if SHAPES[shape][1] is None else 0
    more = f"{each}{lock}lane: {lane}, retry: {{times: 3, delay: 1s}}"
    step = f"{{id: work, {more}, skill: shop.later, with: {{url: '{bank.url}'}}}}"
    run = site.open(site.definition(f"automation: tested\nsteps:\n  - {step}\n"))
    if slot is not None:
        site.expand(run, "work")
    other = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
    outcomes, paused = list[str](), list[float]()
    worker = threading.Thread(target=lambda: outcomes.append(other.step(run, "work", slot).status))

    async def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) > 1:
            await asyncio.sleep(seconds)
            return
        worker.start()
        assert await asyncio.to_thread(eventually, lambda: bank.charges["asked"] == 2)
        await asyncio.to_thread(request_cancel, EventLog(other.services.database), run, by="ann")

    monkeypatch.setattr(retrying, "asyncio", SimpleNamespace(sleep=pause))
    outcome = site.step(run, "work", slot)
    worker.join()
    assert [outcome.status, *outcomes] == ["succeeded", "succeeded"]
    assert [event.type for event in site.services.log.read(run)].count("step.skipped") == 0
