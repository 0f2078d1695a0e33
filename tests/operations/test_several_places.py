"""Who is killed while people are told in several places leaves nobody untold."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from execution.test_forgotten_meanwhile import ABOUT, MARKER, SKILLS
from muster.database import Database
from muster.notifications import Delivery, Notice, Sender
from support.reconciled import FakeAirflow, found
from support.runs import Site, place

pytestmark = pytest.mark.skills(people=SKILLS)
PLACES = "incidents: [{email: first@example.com}, {email: second@example.com}]\nsteps:\n"
PLAIN = f"automation: tested\ninputs: {{who: {{type: string}}}}\n{PLACES}"
UNDO = "{skill: people.fail, retry: {times: 0}}"
STEPS = f"""  - {{id: write, skill: people.write, with: {{text: a, item: 1}}, compensate: {UNDO}}}
  - {{id: work, after: [write], skill: people.fail, retry: {{times: 0}}}}
"""


class Post:
    """Writes down where it was sent; as it is to send to some place its process is killed."""

    def __init__(self, site: Site, sent: Path, *, dies_at: str | None = None) -> None:
        self.sent, self.dies_at = sent, dies_at
        database, seals = site.services.database, site.services.log.aseals
        object.__setattr__(site.services, "notices", Sender(database, {"email": self}, seals=seals))

    async def send(self, notice: Notice) -> Delivery:
        if self.dies_at is not None and notice.target.startswith(self.dies_at):
            os.kill(os.getpid(), signal.SIGKILL)
        with self.sent.open("a") as file:
            file.write(notice.target + "\n")
        return Delivery(delivered_by="smtp", target=notice.target, reference="x")


def killed(site: Site, sent: Path, dies_at: str, work: Callable[[Site], object]) -> None:
    """Do the work in a process of its own, which is killed in the middle of telling people."""
    include, dsn, artifacts = place(site)

    def child() -> None:
        mine = Site.of(include, Database(dsn), artifacts)
        Post(mine, sent, dies_at=dies_at)
        work(mine)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def later(site: Site, airflow: FakeAirflow) -> None:
    """What was claimed has run out, and the reconciler has looked several times."""
    with site.services.database.connection() as connection:
        for table in ("outbox", "effects"):
            connection.execute(f"UPDATE {table} SET claimed_until = now() - interval '1 h' WHERE claimed_until > now()")
    for hour in range(3):
        found(site, airflow, later=timedelta(hours=2 + hour))


@pytest.mark.parametrize("dies_at", ["first", "second"])
@pytest.mark.parametrize("source", [PLAIN, ABOUT.replace("steps:\n", PLACES)], ids=["plain", "about somebody"])
def test_who_dies_telling_that_a_run_is_stuck(site: Site, tmp_path: Path, source: str, dies_at: str) -> None:
    run = site.open(site.definition(source + STEPS), who=MARKER)
    site.step(run, "write")
    site.step(run, "work")
    sent = tmp_path / "sent"
    killed(site, sent, dies_at, lambda mine: mine.unwind(run, {"work": "failed"}))
    Post(site, sent)
    # Airflow begins the task again, then closes the run.
    site.unwind(run, {"work": "failed"})
    site.close(run, {"work": "failed", "unwind.write": "failed"})
    later(site, FakeAirflow("failed"))
    assert sorted(sent.read_text().split()) == ["first@example.com", "second@example.com"]


@pytest.mark.parametrize("dies_at", ["first", "second"])
def test_the_reconciler_that_dies_telling_that_it_gave_a_run_up(site: Site, tmp_path: Path, dies_at: str) -> None:
    site.open(site.definition(PLAIN + STEPS), who=MARKER)
    sent = tmp_path / "sent"
    killed(site, sent, dies_at, lambda mine: found(mine, FakeAirflow(None)))
    Post(site, sent)
    later(site, FakeAirflow(None))
    assert sorted(sent.read_text().split()) == ["first@example.com", "second@example.com"]
