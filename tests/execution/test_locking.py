"""Promises of `lock`: one at a time, item by item, its ending included; what was done without the lease is redone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.events.keys import ended as ended_key
from muster.events.model import EventType
from muster.execution import locking
from muster.recovery.leases import Lease, Leases
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


def test_a_failure_without_the_lease_does_not_count(site: Site) -> None:
    step = "id: post, skill: store.robbed, with: {times: 2, fails: true}, lock: ledger"
    run = site.run(site.definition(f"automation: tested\nsteps:\n  - {{{step}}}\n"))
    assert site.state(run).step("post").output == 3
    retried = [event for event in site.services.log.read(run) if event.type == EventType.STEP_RETRIED]
    assert [event.data["error"]["class"] for event in retried] == ["LeaseLost"] * 2


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


SHAPES = ["", "each: [a, b], ", "each: [a, b], pack: 2, ", "each: [a, b], pack: all, "]
FALLBACK = "fallback: {skill: store.ends, with: {how: fails}}, "
# As PostgreSQL answers to findings of more than 256 MiB.
TOO_LARGE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'too large' USING ERRCODE = '54000';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.type = 'step.set_aside')
  EXECUTE FUNCTION refuse();
"""
ENDS = {
    "it succeeds": ("well", "", "succeeded"),
    "it fails": ("fails", "", "failed"),
    "its retries are used up": ("transient", "retry: {times: 2, delay: 0s}, ", "failed"),
    "the retries of the run are used up": ("transient", "retry: {times: 9, delay: 0s}, ", "failed"),
    "its fallback fails": ("fails", FALLBACK, "failed"),
    "what it did outside rules its fallback out": ("outside", FALLBACK, "failed"),
    "it is set aside": ("aside", "", "set_aside"),
    "it is set aside, and the log cannot hold why": ("aside", "", "failed"),
}


@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lane", ["async", "worker"])
def test_how_work_ended_is_in_the_log_before_the_next_holder_of_its_lock_begins(
    site: Site, shape: str, lane: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, more, wanted = ENDS[case]
    release, found = Leases.arelease, dict[str, list[str]]()

    async def looked(leases: Leases, lease: Lease) -> bool:
        run, _, key = lease.owner.rpartition("/")
        ended = await site.services.log.aunder_keys(run, [ended_key(key, 0)])
        found.setdefault(key, []).append(*[str(event.type) for event in ended.values()] or ["nothing"])
        return await release(leases, lease)

    monkeypatch.setattr(Leases, "arelease", looked)
    if "cannot hold" in case:
        with psycopg.connect(site.services.database.dsn) as connection:
            connection.execute(TOO_LARGE)
    step = f"id: post, {shape}{more}skill: store.ends, with: {{how: {how}}}, lane: {lane}, lock: ledger"
    budget = "budget: {retries: 1}\n" if "of the run" in case else ""
    run = site.run(site.definition(f"automation: tested\n{budget}steps:\n  - {{{step}}}\n"))
    wanted = wanted if shape else wanted.replace("set_aside", "failed")
    assert {key: ends[-1] for key, ends in found.items()} == dict.fromkeys(
        ["post[0]", "post[1]"] if shape else ["post"], f"step.{wanted}"
    )
    assert all(ends[:-1] == ["nothing"] * (len(ends) - 1) for ends in found.values())
    assert [event.type for event in site.services.log.read(run)].count(f"step.{wanted}") == len(found)


@pytest.mark.parametrize("shape", SHAPES)
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


@pytest.mark.parametrize("lock", ["", "lock: ledger, "])
def test_no_fallback_follows_a_result_that_the_log_cannot_hold(site: Site, tmp_path: Path, lock: str) -> None:
    site.skills(
        "sums",
        """
from pathlib import Path
from muster.skills import skill

@skill("sums.mean", lane="async")
async def mean(folder: str, who: str) -> float:
    \"\"\"The mean of nothing.\"\"\"
    with (Path(folder) / "calls").open("a") as calls:
        calls.write(who + " ")
    return float("nan")
""",
    )
    given = f"skill: sums.mean, with: {{folder: '{tmp_path}', who: "
    source = f"automation: a\nsteps:\n  - {{id: one, {lock}{given}step}}, fallback: {{{given}fallback}}}}}}\n"
    run = site.open(site.definition(source))
    assert site.step(run, "one").status == "failed"
    assert (tmp_path / "calls").read_text() == "step "
