"""Work under a lock is done by its step or by its fallback, whatever becomes of a lease or of a write meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from muster.database import Database
from muster.errors import DatabaseLost
from muster.execution import locking
from muster.operations.cancelling import request_cancel
from muster.recovery import leases
from muster.recovery.holding import holding
from support.runs import Site

T = TypeVar("T")
SKILLS = '''
from pathlib import Path
from muster.errors import DatabaseLost, PermanentError, SetAside
from muster.skills import skill

@skill("sums.pay", lane="async")
async def pay(folder: str, who: str, refuses: bool = False, loses: bool = False) -> str:
    """Pays; the first time it refuses, or loses the database after it, when it is told so."""
    calls = Path(folder) / "calls"
    first = not calls.exists()
    refused = refuses and first
    with calls.open("a") as file:
        file.write(f"{who}-{'refused' if refused else 'paid'} ")
    if refused:
        raise PermanentError("no")
    if loses and first:
        raise DatabaseLost("The database did not answer.")
    return who

@skill("sums.end", lane="async")
async def end(how: str) -> str:
    """Ends in one of two ways."""
    raise SetAside("odd", []) if how == "aside" else PermanentError("no")
'''
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval(TG_ARGV[0]) = 1 THEN
    RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
  END IF;
  RETURN NEW;
END $$;
"""
REFUSED = {
    "step.succeeded": "INSERT ON events FOR EACH ROW WHEN (NEW.type = 'step.succeeded')",
    "step.retried": "INSERT ON events FOR EACH ROW WHEN (NEW.type = 'step.retried')",
    "step.fell_back": "INSERT ON events FOR EACH ROW WHEN (NEW.type = 'step.fell_back')",
    "step.failed": "INSERT ON events FOR EACH ROW WHEN (NEW.type = 'step.failed')",
    "step.set_aside": "INSERT ON events FOR EACH ROW WHEN (NEW.type = 'step.set_aside')",
    "compensation.succeeded": "INSERT ON events FOR EACH ROW WHEN (NEW.type = 'compensation.succeeded')",
    "the release": "UPDATE ON leases FOR EACH ROW WHEN (NEW.owner IS NULL)",
}
"""What the database may refuse, each the first time."""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("sums", SKILLS)
    return made


def opened(site: Site, folder: Path, more: str = "", lock: str = "lock: ledger, ", budget: str = "") -> str:
    given = f"skill: sums.pay, with: {{folder: '{folder}', who: "
    return site.open(
        site.definition(
            f"automation: a\n{budget}steps:\n"
            f"  - {{id: one, {lock}{given}step{more}}}, fallback: {{{given}fallback}}}}}}\n"
        )
    )


def refusing(site: Site, *what: str, code: str = "25006") -> None:
    with psycopg.connect(site.services.database.dsn) as connection:
        connection.execute(REFUSE.replace("{code}", code))
        for number, each in enumerate(what):
            connection.execute(f"CREATE SEQUENCE refused_{number}")
            connection.execute(
                f"CREATE TRIGGER refuse_{number} BEFORE {REFUSED[each]} EXECUTE FUNCTION refuse('refused_{number}')"
            )


def again(perform: Callable[[], T]) -> T:
    """As Airflow or the trigger does it: what was lost with the database is performed again."""
    for _ in range(3):
        with suppress(DatabaseLost):
            return perform()
    return perform()


# 54000: a value is too large; 25006: the server has become a standby; 42501: a right was taken away; 55P03: a row is
# locked for too long.
@pytest.mark.parametrize("code", ["54000", "25006", "42501", "55P03"])
@pytest.mark.parametrize("lock", ["", "lock: ledger, "])
def test_no_fallback_follows_a_success_that_could_not_be_written(
    site: Site, tmp_path: Path, lock: str, code: str
) -> None:
    run = opened(site, tmp_path, lock=lock)
    refusing(site, "step.succeeded", code=code)
    again(lambda: site.step(run, "one"))
    assert "fallback" not in (tmp_path / "calls").read_text()


READ_REFUSED = """
CREATE SEQUENCE refused_read;
CREATE FUNCTION refuse_read(number bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('refused_read') = 1 THEN
    RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
  END IF;
  RETURN number;
END $$;
"""
LISTS = {
    "single": "",
    "mapped": "each: [a, b], ",
    "packed": "each: [a, b], pack: 2, ",
    "whole": "each: [a, b], pack: all, ",
}
LANES = ["async", "worker"]


@pytest.mark.parametrize("code", ["25006", "42501", "55P03", "XX000"])
@pytest.mark.parametrize("shape", LISTS)
@pytest.mark.parametrize("lane", LANES)
def test_nor_one_after_which_nobody_could_tell_whether_its_lock_was_still_held(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: str, shape: str, code: str
) -> None:
    monkeypatch.setattr(leases, "IS_HELD", leases.IS_HELD.replace("count(*)", "refuse_read(count(*))"))
    run = opened(site, tmp_path, lock=f"lock: ledger, lane: {lane}, {LISTS[shape]}")
    with psycopg.connect(site.services.database.dsn) as connection:
        connection.execute(READ_REFUSED.replace("{code}", code))
    again(lambda: site.all_of(run, "one"))
    assert set((tmp_path / "calls").read_text().split()) == {"step-paid"}
    state = site.state(run).step("one")
    assert {work.status for work in state.works} == {"succeeded"}
    assert not {event.type for event in site.services.log.read(run)} & {"step.failed", "step.fell_back", "step.retried"}


@pytest.mark.parametrize("code", ["25006", "55P03"])
@pytest.mark.parametrize("retry", ["", "retry: {times: 2, delay: 0s}, "])
@pytest.mark.parametrize("shape", LISTS)
@pytest.mark.parametrize("lane", LANES)
def test_nothing_is_written_after_a_success_because_its_lock_could_not_be_given_back(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: str, shape: str, retry: str, code: str
) -> None:
    monkeypatch.setattr(locking, "holding", partial(holding, ttl=0.6))  # What is not released runs out soon.
    run = opened(site, tmp_path, lock=f"lock: ledger, lane: {lane}, {retry}{LISTS[shape]}")
    refusing(site, "the release", code=code)
    again(lambda: site.all_of(run, "one"))
    assert set((tmp_path / "calls").read_text().split()) == {"step-paid"}
    state = site.state(run).step("one")
    assert {work.status for work in state.works} == {"succeeded"}
    assert not {event.type for event in site.services.log.read(run)} & {"step.failed", "step.fell_back", "step.retried"}


ENDINGS = {"step.failed": ("fails", ""), "step.set_aside": ("aside", ""), "step.fell_back": ("fails", "fallback")}


@pytest.mark.parametrize("what", ENDINGS)
@pytest.mark.parametrize("lock", ["", "lock: ledger, "])
@pytest.mark.parametrize("shape", LISTS)
@pytest.mark.parametrize("lane", LANES)
def test_how_work_ended_is_what_it_was_though_the_database_refused_it_once(
    site: Site, tmp_path: Path, lane: str, shape: str, lock: str, what: str
) -> None:
    how, falls_back = ENDINGS[what]
    more = f", fallback: {{skill: sums.pay, with: {{folder: '{tmp_path}', who: fallback}}}}" if falls_back else ""
    step = f"id: one, {LISTS[shape]}{lock}lane: {lane}, skill: sums.end, with: {{how: {how}}}{more}"
    run = site.open(site.definition(f"automation: a\nsteps:\n  - {{{step}}}\n"))
    # A step that is no list is not set aside, it fails.
    ends = what if shape != "single" or falls_back else "step.failed"
    refusing(site, ends)
    again(lambda: site.all_of(run, "one"))
    events = list(site.services.log.read(run))
    kinds = {event.type for event in events} & {"step.failed", "step.set_aside", "step.fell_back", "step.succeeded"}
    assert kinds == {ends, *(["step.succeeded"] if falls_back else [])}
    assert {error["message"] for event in events if (error := event.data.get("error"))} == {
        "odd" if how == "aside" else "no"
    }


@pytest.mark.parametrize("lock", ["", "lock: ledger, "])
@pytest.mark.parametrize("shape", LISTS)
@pytest.mark.parametrize("lane", LANES)
def test_undoing_that_could_not_be_written_does_not_make_the_run_stuck(
    site: Site, tmp_path: Path, lane: str, shape: str, lock: str
) -> None:
    pay = f"skill: sums.pay, with: {{folder: '{tmp_path}', who: "
    step = f"id: one, {LISTS[shape]}{lock}lane: {lane}, {pay}step}}, compensate: {{{pay}back}}}}"
    run = site.open(site.definition(f"automation: a\nsteps:\n  - {{{step}}}\n"))
    site.all_of(run, "one")
    request_cancel(site.services.log, run, by="ann")
    refusing(site, "compensation.succeeded")
    # Two items that end at once are written together. What is refused then is written apart, and the database refuses
    # only the first time.
    with pytest.raises(DatabaseLost, match="refused what happened") if shape == "single" else suppress(DatabaseLost):
        site.unwind(run)
    assert again(lambda: site.unwind(run)) == "succeeded"
    kinds = [event.type for event in site.services.log.read(run)]
    assert "compensation.failed" not in kinds
    assert kinds.count("compensation.succeeded") == (1 if shape == "single" else 2)


SHAPES = {**LISTS, "worker": "lane: worker, ", "without a lock": ""}
BUDGETS = {"left": "", "used up": "budget: {retries: 0}\n"}
BESIDE = {"nothing": (), "its retry": ("step.retried",), "the release": ("the release",)}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("retry", ["", "retry: {times: 2, delay: 0s}, "])
@pytest.mark.parametrize("shape", SHAPES)
def test_nor_does_it_where_a_retry_could_not_be_had_either(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, retry: str, budget: str, beside: str
) -> None:
    monkeypatch.setattr(locking, "holding", partial(holding, ttl=0.6))  # What is not released runs out soon.
    lock = "" if shape == "without a lock" else "lock: ledger, "
    run = opened(site, tmp_path, lock=SHAPES[shape] + lock + retry, budget=BUDGETS[budget])
    refusing(site, "step.succeeded", *BESIDE[beside])
    if shape == "mapped":
        again(lambda: site.expand(run, "one"))
    for slot in (0, 1) if shape == "mapped" else (None,):
        assert again(partial(site.step, run, "one", slot)).status == "succeeded"
    calls = (tmp_path / "calls").read_text().split()
    assert set(calls) == {"step-paid"}
    kinds = {event.type for event in site.services.log.read(run)}
    assert not kinds & {"step.failed", "step.fell_back", "step.retried"}


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("retry", ["", "retry: {times: 2, delay: 0s}, "])
@pytest.mark.parametrize("lock", ["", "lock: ledger, "])
def test_nor_does_it_where_the_skill_itself_loses_the_database(
    site: Site, tmp_path: Path, lock: str, retry: str, budget: str
) -> None:
    run = opened(site, tmp_path, ", loses: true", lock=lock + retry, budget=BUDGETS[budget])
    assert again(partial(site.step, run, "one")).status == "succeeded"
    assert (tmp_path / "calls").read_text().split() == ["step-paid", "step-paid"]


@pytest.mark.parametrize("dies", [False, True])
def test_the_step_is_not_done_again_once_it_is_left_to_its_fallback(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    run, append, died = opened(site, tmp_path, ", refuses: true"), site.services.log.aappend, list[int]()
    monkeypatch.setattr(locking, "holding", partial(holding, ttl=0.6))

    async def slowly(stream: str, events: Any, **more: Any) -> Any:
        if dies and not died and events[0].type == "step.succeeded":
            died.append(1)
            raise DatabaseLost("The process dies before it can write that.")
        stored = await append(stream, events, **more)
        if events[0].type == "step.fell_back":
            # It is written and the answer is late, while the lease runs out.
            with psycopg.connect(site.services.database.dsn) as outside:
                outside.execute("UPDATE leases SET expires_at = clock_timestamp()")
            await asyncio.sleep(2)
        return stored

    monkeypatch.setattr(site.services.log, "aappend", slowly)
    if dies:
        with pytest.raises(DatabaseLost):
            site.step(run, "one")
    site.step(run, "one")
    paid = (tmp_path / "calls").read_text().split()
    assert paid == ["step-refused", *["fallback-paid"] * (2 if dies else 1)]
