"""Promises of `lock`: one at a time, item by item, and what was done without the lease is done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.model import EventType
from muster.execution import locking
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "locking")


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("store", SKILLS)
    seen().clear()
    return made


def seen() -> list[Any]:
    import sys

    module = sys.modules.get("muster_site.store")
    return module.seen if module else []


def test_items_that_name_one_lock_work_one_after_the_other_and_others_beside_them(site: Site) -> None:
    definition = site.definition(
        """
automation: tested
steps:
  - id: post
    each: ["a", "b", "a", "a", "b", "c"]
    pack: all
    skill: store.alone
    with: {account: "{{ item }}"}
    lock: ["ledger:{{ item }}"]
"""
    )
    run = site.run(definition)
    assert site.state(run).step("post").output == ["a", "b", "a", "a", "b", "c"]
    assert [at_once for _, at_once, _ in seen()] == [1] * 6
    assert all(f"ledger:{account}" in names for account, _, names in seen())
    assert any(len(names) > 1 for _, _, names in seen()), "other accounts need not wait"
    assert site.services.leases.held() == []


@pytest.mark.parametrize(("losses", "status"), [(1, "succeeded"), (locking.LOSSES, "succeeded"), (9, "failed")])
def test_work_whose_lease_was_lost_is_done_again_with_every_loss_in_the_log(
    site: Site, losses: int, status: str
) -> None:
    run = site.run(
        site.definition(
            "automation: tested\nsteps:\n"
            f"  - {{id: post, skill: store.robbed, with: {{times: {losses}}}, lock: ledger}}\n"
        )
    )
    state = site.state(run)
    assert state.step("post").status == status
    assert len(seen()) == min(losses, locking.LOSSES) + 1
    retried = [event for event in site.services.log.read(run) if event.type == EventType.STEP_RETRIED]
    assert [event.data["error"]["class"] for event in retried] == ["LeaseLost"] * min(losses, locking.LOSSES)


@pytest.mark.parametrize("shape", ["", "each: [a, b], ", "each: [a, b], pack: 2, ", "each: [a, b], pack: all, "])
@pytest.mark.parametrize("lane", ["async", "worker"])
def test_a_lost_lease_uses_up_no_retry_of_the_run(site: Site, shape: str, lane: str) -> None:
    items = 2 if shape else 1
    account = "{{ item }}" if shape else "a"
    step = f"id: post, {shape}skill: store.unlucky, with: {{account: '{account}'}}, lane: {lane}, lock: ledger"
    source = (
        f"automation: tested\nbudget: {{retries: {items}}}\nsteps:\n  - {{{step}, retry: {{times: 1, delay: 0s}}}}\n"
    )
    run = site.run(site.definition(source))
    retried = [event for event in site.services.log.read(run) if event.type == EventType.STEP_RETRIED]
    assert sorted(event.data["error"]["class"] for event in retried) == sorted(["LeaseLost", "TransientError"] * items)
    assert site.state(run).step("post").output == ([3, 3] if shape else 3)
    assert site.state(run).status == "succeeded"


def test_a_lock_that_somebody_holds_for_too_long_fails_the_attempt_and_names_the_holder(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "WAIT", 0.05)
    site.services.leases.acquire(["ledger"], "another run")
    run = site.run(
        site.definition(
            "automation: tested\nsteps:\n  - {id: post, skill: store.alone, with: {account: a}, lock: ledger}\n"
        )
    )
    [item] = [event for event in site.services.log.read(run) if event.type == EventType.STEP_FAILED]
    assert item.data["error"]["class"] == "LeaseTaken"
    assert "another run holds ledger" in item.data["error"]["message"]
    assert seen() == []


def test_an_expression_may_give_several_names_and_none_is_refused() -> None:
    variables = {"item": {"accounts": ["a", "b"], "none": None, "number": 7}}
    names = locking.lock_names(["x:{{ item.number }}", "{{ item.accounts }}"], variables, where="here")
    assert names == ["x:7", "a", "b"]
    with pytest.raises(Exception, match="None does not name a lock"):
        locking.lock_names(["{{ item.none }}"], variables, where="here")


def test_a_lock_excludes_whoever_names_it_also_where_its_name_is_not_stored() -> None:
    about_nobody = locking.lease_names(["person/jane"], ["person/jane"])
    about_jane = locking.lease_names(["person/jane"], ["person/{{ inputs.who }}"])
    assert set(about_nobody) > set(about_jane)
    assert "jane" not in str(about_jane)
