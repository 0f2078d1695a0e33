"""An effect that others are a part of: while one of those is in doubt it is in doubt as well; a server counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.recovery.ledger import Ledger
from support.bank import BankServer
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "effects_within")
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
    work_items = 2 if SHAPES[shape] else 1
    run = site.run(site.definition(automation(shape, skill)))
    assert site.state(run).status == "failed"
    assert effects(site) == {("order", "unknown"), ("pay", "unknown")}
    ledger = Ledger(site.services.database)
    for entry in ledger.entries():
        if entry.key.endswith("/pay"):
            ledger.decide(entry.key, happened=True)
    again = [site.step(run, "order", slot, epoch=1) for slot in slots(site, run, shape)]
    assert all("/effect/order" in (outcome.reason or "") for outcome in again), "a person says whether it was ordered"
    assert bank.charges == {"stock": work_items, "money": work_items}
    for entry in ledger.entries(in_doubt=True):
        ledger.decide(entry.key, happened=True)
    assert {site.step(run, "order", slot, epoch=2).status for slot in slots(site, run, shape, 2)} == {"succeeded"}
    assert bank.charges == {"stock": work_items, "money": work_items}


def slots(site: Site, run: str, shape: str, epoch: int = 1) -> list[int | None]:
    return [*range(site.expand(run, "order", epoch=epoch))] if shape in ("mapped", "packed") else [None]


def test_an_effect_that_did_not_happen_leaves_none_in_doubt_around_it(site: Site) -> None:
    site.run(site.definition(automation("single", "shop.refused")))
    assert effects(site) == {("order", "failed"), ("pay", "failed")}
