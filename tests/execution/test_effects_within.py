"""An effect that others are a part of: while one of those is in doubt it is in doubt as well; a server counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.recovery.ledger import Ledger
from support.bank import BankServer
from support.runs import Site

SKILLS = '''
import asyncio
from muster.errors import PermanentError
from muster.skills import SkillContext, skill
from support.bank import charge

def lost() -> None:
    charge("BANK", "money")
    raise ConnectionError("the answer was lost")

@skill("shop.order")
def order(context: SkillContext) -> None:
    """Reserves, and pays; where that seems to fail it tries once more, and is told that nobody knows."""
    def both() -> None:
        charge("BANK", "stock")
        pay = lambda: context.effect("pay", request={}).perform(lost)
        try:
            pay()
        except ConnectionError:
            pay()
    context.effect("order", request={}).perform(both)

@skill("shop.reworded")
def reworded(context: SkillContext) -> None:
    """The same, where it tries once more in other words."""
    def both() -> None:
        charge("BANK", "stock")
        try:
            context.effect("pay", request={}).perform(lost)
        except ConnectionError:
            context.effect("pay", request={"by": "card"}).perform(lost)
    context.effect("order", request={}).perform(both)

@skill("shop.aorder", lane="async")
async def aorder(context: SkillContext) -> None:
    """The same, as a coroutine."""
    async def alost() -> None:
        await asyncio.to_thread(lost)
    async def both() -> None:
        await asyncio.to_thread(charge, "BANK", "stock")
        pay = lambda: context.effect("pay", request={}).aperform(alost)
        try:
            await pay()
        except ConnectionError:
            await pay()
    await context.effect("order", request={}).aperform(both)

@skill("shop.refused")
def refused(context: SkillContext) -> None:
    """What is a part of it is refused, so that nothing happened."""
    def refuse() -> None:
        raise PermanentError("The account is closed.")
    context.effect("order", request={}).perform(lambda: context.effect("pay", request={}).perform(refuse))
'''
SHAPES = {
    "single": "",
    "mapped": "each: [a, b], ",
    "packed": "each: [a, b], pack: 2, ",
    "whole": "each: [a, b], pack: all, ",
}


@pytest.fixture
def site(tmp_path: Path, database: Database, bank: BankServer) -> Site:
    site = Site(tmp_path, database)
    site.skills("shop", SKILLS.replace("BANK", bank.url))
    return site


def automation(shape: str, skill: str) -> str:
    return f"automation: ordering\nsteps:\n  - {{id: order, {SHAPES[shape]}skill: {skill}}}\n"


def effects(site: Site) -> set[tuple[str, str]]:
    entries = Ledger(site.services.database).entries()
    return {(entry.key.rpartition("/")[2], entry.status) for entry in entries}


@pytest.mark.parametrize("skill", ["shop.order", "shop.aorder", "shop.reworded"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_effect_is_in_doubt_while_one_within_it_is(site: Site, bank: BankServer, shape: str, skill: str) -> None:
    pieces = 2 if SHAPES[shape] else 1
    run = site.run(site.definition(automation(shape, skill)))
    assert site.state(run).status == "failed"
    assert effects(site) == {("order", "unknown"), ("pay", "unknown")}
    ledger = Ledger(site.services.database)
    for entry in ledger.entries():
        if entry.key.endswith("/pay"):
            ledger.decide(entry.key, happened=True)
    again = [site.step(run, "order", slot, epoch=1) for slot in slots(site, run, shape)]
    assert all("/effect/order" in (outcome.reason or "") for outcome in again), "a person says whether it was ordered"
    assert bank.charges == {"stock": pieces, "money": pieces}
    for entry in ledger.entries(in_doubt=True):
        ledger.decide(entry.key, happened=True)
    assert {site.step(run, "order", slot, epoch=2).status for slot in slots(site, run, shape, 2)} == {"succeeded"}
    assert bank.charges == {"stock": pieces, "money": pieces}


def slots(site: Site, run: str, shape: str, epoch: int = 1) -> list[int | None]:
    return [*range(site.expand(run, "order", epoch=epoch))] if shape in ("mapped", "packed") else [None]


def test_an_effect_that_did_not_happen_leaves_none_in_doubt_around_it(site: Site) -> None:
    site.run(site.definition(automation("single", "shop.refused")))
    assert effects(site) == {("order", "failed"), ("pay", "failed")}
