"""A database that goes away as people are told: they are told later, and nothing says before that they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from execution.test_forgotten_meanwhile import SKILLS
from muster.approvals import asking
from muster.errors import DatabaseLost
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.notifications import Delivery, Notice, Sender
from support.outbox import lost_as_it_is_written
from support.reconciled import FakeAirflow, found
from support.runs import Site

pytestmark = pytest.mark.skills(people=SKILLS)
ONE, TWO = "{email: a@example.com}", "{email: a@example.com}, {email: b@example.com}"
ASK = """automation: tested
steps:
  - {{id: ok, human: {{ask: "Pay?", assignees: [lead], within: 1d, remind: [2h], notify: [{places}]}}}}
"""
STUCK = """automation: tested
incidents: [{places}]
steps:
  - id: write
    skill: people.write
    with: {{text: a, item: 1}}
    compensate: {{skill: people.fail, retry: {{times: 0}}}}
  - {{id: work, after: [write], skill: people.fail, retry: {{times: 0}}}}
"""


class Post:
    """Counts what leaves."""

    def __init__(self, site: Site) -> None:
        self.sent: list[str] = []
        database, seals = site.services.database, site.services.log.aseals
        object.__setattr__(site.services, "notices", Sender(database, {"email": self}, seals=seals))

    async def send(self, notice: Notice) -> Delivery:
        self.sent.append(notice.target.partition("@")[0])
        return Delivery(delivered_by="smtp", target=notice.target, reference="x")


def looks(site: Site, ref: WorkRef, later: timedelta = timedelta(0)) -> None:
    """As Airflow's task does, which tries again where the database was lost."""
    object.__setattr__(site.services, "clock", lambda: datetime.now(UTC) + later)
    site.do(asking.look(site.services, ref))


@pytest.mark.parametrize(("places", "told"), [(ONE, ["a"]), (TWO, ["a", "b"])])
@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=3)], ids=["the question", "a reminder"])
def test_a_question_is_said_to_be_told_once_it_is_in_the_outbox(
    site: Site, places: str, told: list[str], later: timedelta
) -> None:
    post, run = Post(site), site.open(site.definition(ASK.format(places=places)))
    ref = WorkRef(run=run, step="ok", lane="worker")

    async def asked() -> None:
        work_item = await begin(site.services, ref)
        assert isinstance(work_item, WorkItem)
        await asking.request(site.services, work_item)

    site.do(asked())
    if later:
        looks(site, ref)
        post.sent.clear()
    lost_as_it_is_written(site.services.database)
    before = site.state(run).version
    with pytest.raises(DatabaseLost):
        looks(site, ref, later)
    assert (post.sent, site.state(run).version) == ([], before)
    looks(site, ref, later)
    assert post.sent == told
    looks(site, ref, later)
    assert post.sent == told


@pytest.mark.parametrize(("places", "told"), [(ONE, ["a"]), (TWO, ["a", "b"])])
def test_that_a_run_is_stuck_is_told_by_the_reconciler(site: Site, places: str, told: list[str]) -> None:
    post, run = Post(site), site.open(site.definition(STUCK.format(places=places)))
    for step in ("write", "work"):
        site.step(run, step)
    lost_as_it_is_written(site.services.database)
    assert site.unwind(run) == "failed"
    site.close(run)
    assert (site.state(run).status, post.sent) == ("stuck", [])
    for hours in (1, 2):
        found(site, FakeAirflow("failed"), later=timedelta(hours=hours))
        assert post.sent == told
