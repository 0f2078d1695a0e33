"""Work under a lock is done by its step or by its fallback, whatever becomes of a lease or of a write meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.errors import DatabaseLost
from muster.execution import locking
from muster.recovery.holding import holding
from support.runs import Site

SKILLS = '''
from pathlib import Path
from muster.errors import PermanentError
from muster.skills import skill

@skill("sums.pay", lane="async")
async def pay(folder: str, who: str, refuses: bool = False) -> str:
    """Pays; refuses the first time when it is told so."""
    calls = Path(folder) / "calls"
    refused = refuses and not calls.exists()
    with calls.open("a") as file:
        file.write(f"{who}-{'refused' if refused else 'paid'} ")
    if refused:
        raise PermanentError("no")
    return who
'''
REFUSE = """
CREATE SEQUENCE refused;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.type = 'step.succeeded' AND nextval('refused') = 1 THEN
    RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("sums", SKILLS)
    return made


def opened(site: Site, folder: Path, more: str = "", lock: str = "lock: ledger, ") -> str:
    given = f"skill: sums.pay, with: {{folder: '{folder}', who: "
    return site.open(
        site.definition(
            f"automation: a\nsteps:\n  - {{id: one, {lock}{given}step{more}}}, fallback: {{{given}fallback}}}}}}\n"
        )
    )


# 54000: a value is too large; 25006: the server has become a standby; 42501: a right was taken away.
@pytest.mark.parametrize("code", ["54000", "25006", "42501"])
@pytest.mark.parametrize("lock", ["", "lock: ledger, "])
def test_no_fallback_follows_a_success_that_could_not_be_written(
    site: Site, tmp_path: Path, lock: str, code: str
) -> None:
    run = opened(site, tmp_path, lock=lock)
    with psycopg.connect(site.services.database.dsn) as connection:
        connection.execute(REFUSE.replace("{code}", code))
    for _ in range(2):
        try:
            site.step(run, "one")
        except (psycopg.Error, DatabaseLost):
            continue  # No ending is written: the task is performed again.
        break
    assert "fallback" not in (tmp_path / "calls").read_text()


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
