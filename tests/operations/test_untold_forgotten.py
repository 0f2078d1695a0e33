"""Who was still to be told of a run as its person was forgotten is told without them, at each place once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from execution.test_forgotten_meanwhile import ABOUT, MARKER, SKILLS, officer
from muster.errors import TransientError
from muster.notifications import Delivery, Notice, Sender
from support.reconciled import FakeAirflow, found
from support.runs import Site

pytestmark = pytest.mark.skills(people=SKILLS)
UNDO = "{skill: people.fail, retry: {times: 0}}"
STEPS = f"""  - {{id: write, skill: people.write, with: {{text: a, item: 1}}, compensate: {UNDO}}}
  - {{id: work, after: [write], skill: people.fail, retry: {{times: 0}}}}
"""


class Post:
    """Takes nothing for some places until somebody says so, and keeps where it was sent."""

    def __init__(self, site: Site, away: str = "") -> None:
        self.away: str | None = away
        self.sent: list[str] = []
        database, seals = site.services.database, site.services.log.aseals
        object.__setattr__(site.services, "notices", Sender(database, {"email": self}, seals=seals))

    async def send(self, notice: Notice) -> Delivery:
        if self.away is not None and notice.target.startswith(self.away):
            raise TransientError("Come again in a minute.")
        assert MARKER not in notice.text
        self.sent.append(notice.target)
        return Delivery(delivered_by="smtp", target=notice.target, reference="x")


def opened(site: Site, *places: str) -> str:
    incidents = ", ".join(f"{{email: {place}@example.com}}" for place in places)
    about = ABOUT.replace("steps:", f"incidents: [{incidents}]\nsteps:")
    return site.open(site.definition(about + STEPS), who=MARKER)


def stuck(site: Site, run: str) -> None:
    site.step(run, "write")
    site.step(run, "work")
    assert site.unwind(run, {"work": "failed"}) == "failed"
    site.close(run, {"work": "failed", "unwind.write": "failed"})


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_the_reconciler_gave_up_is_told_though_its_own_notice_lost_its_words(site: Site, forgotten: bool) -> None:
    opened(site, "ops")
    post = Post(site)
    assert found(site, FakeAirflow(None)), "Airflow does not know the run any more, and it is closed"
    if forgotten:
        officer(site)
    post.away = None
    passes = [found(site, FakeAirflow(None), later=timedelta(hours=2 + hour)) for hour in range(3)]
    assert post.sent == ["ops@example.com"]
    assert passes[-1] == [], "it is no news any more"


def test_so_is_a_stuck_run_when_they_are_forgotten_once_more(site: Site) -> None:
    run = opened(site, "ops")
    post = Post(site)
    stuck(site, run)
    officer(site)
    found(site, FakeAirflow("failed"))
    officer(site)
    post.away = None
    for hour in range(3):
        found(site, FakeAirflow("failed"), later=timedelta(hours=2 + hour))
    assert post.sent == ["ops@example.com"]


@pytest.mark.parametrize("away", ["first", "second"])
def test_of_two_places_also_the_one_that_was_away_is_told(site: Site, away: str) -> None:
    run = opened(site, "first", "second")
    post = Post(site, away)
    stuck(site, run)
    officer(site)
    post.away = None
    for hour in range(3):
        found(site, FakeAirflow("failed"), later=timedelta(hours=2 + hour))
    assert set(post.sent) == {"first@example.com", "second@example.com"}
