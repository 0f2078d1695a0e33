"""Who was still to be told of a run as its person was forgotten is told without them; what was withdrawn stays so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from execution.test_forgotten_meanwhile import ABOUT, MARKER, SKILLS, found_in, officer
from muster.approvals import asking
from muster.errors import TransientError
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.notifications import Delivery, Notice, Sender
from muster.notifications.outbox import Outbox
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


def test_what_the_reconciler_has_read_before_is_not_sent_after(site: Site) -> None:
    tell = 'notify: [{email: ops@example.com, text: "about {{ inputs.who }}"}], retry: {times: 0}'
    run = site.open(site.definition(ABOUT + f"  - {{id: one, {tell}}}\n  - {{id: two, {tell}}}\n"), who=MARKER)
    post = Post(site)
    for step in ("one", "two"):
        site.step(run, step)
    post.away = None
    forget = iter([True])

    def send(notice: Notice) -> None:
        if next(forget, False):
            officer(site)  # In another process, as the reconciler has read the list of what is undelivered.
        site.do(site.services.notices.send(notice))

    found(site, FakeAirflow("running"), later=timedelta(hours=2), send=send)
    assert post.sent == []
    assert found_in(site.services.database) == []


@pytest.mark.parametrize("text", ["A letter has come.", "About {{ inputs.who }}"])
def test_what_was_withdrawn_is_not_sent_by_the_next_attempt(
    site: Site, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    tell = f'notify: [{{email: ops@example.com, text: "{text}"}}], retry: {{times: 1, delay: 0s}}'
    run = site.open(site.definition(ABOUT + f"  - {{id: one, {tell}}}\n"), who=MARKER)
    post, fail = Post(site), Outbox.fail

    async def failed(self: Outbox, *given: Any) -> None:
        await fail(self, *given)
        await asyncio.to_thread(officer, site)
        post.away = None

    monkeypatch.setattr(Outbox, "fail", failed)
    site.step(run, "one")
    assert post.sent == []
    notes = [entry.note for entry in site.services.notices.outbox.entries()]
    assert notes == ["not sent, because whom it is about was forgotten"]


QUESTION = """  - id: approve
    human:
      ask: "Pay?"
      assignees: [lead]
      notify: [{email: office@example.com}, {email: "{{ inputs.who }}@example.com"}]
"""


def put(site: Site, post: Post) -> str:
    """A question of a run about somebody, whose notices are sent as far as the mail server takes them."""
    run = site.open(site.definition(ABOUT + QUESTION), who=MARKER)
    ref = WorkRef(run=run, step="approve", lane="worker")

    async def asked() -> None:
        work_item = await begin(site.services, ref)
        assert isinstance(work_item, WorkItem)
        await asking.request(site.services, work_item)
        await asking.look(site.services, ref)

    site.do(asked())
    return run


@pytest.mark.parametrize(("away", "sent"), [("", []), (MARKER, ["office@example.com"])])
def test_a_question_that_was_not_told_is_told_without_them(site: Site, away: str, sent: list[str]) -> None:
    post = Post(site, away)
    run = put(site, post)
    assert post.sent == sent
    officer(site)
    officer(site)
    post.away = None
    for hour in range(3):
        found(site, FakeAirflow("running"), later=timedelta(hours=2 + hour))
    assert post.sent == sent, "what was withdrawn stays so"
    (told,) = [entry for entry in site.services.notices.outbox.entries() if entry.target == "#approvals"]
    # Nobody has set up Slack here.
    assert (told.status, told.delivered_by, told.run) == ("kept", "outbox", run)
    assert f"`muster show {run}`" in told.text
    assert found_in(site.services.database) == []


def test_of_a_question_that_was_told_or_answered_nobody_is_told_once_more(site: Site) -> None:
    post = Post(site)
    post.away = None
    put(site, post)
    other = put(site, Post(site))
    site.approve(other, "approve", by="lead")
    officer(site)
    found(site, FakeAirflow("running"), later=timedelta(hours=2))
    assert [entry.key for entry in site.services.notices.outbox.entries() if entry.target == "#approvals"] == []


def test_why_a_person_discarded_a_notice_is_forgotten_too(site: Site) -> None:
    run = opened(site, "ops")
    Post(site)
    stuck(site, run)
    outbox = site.services.notices.outbox
    (entry,) = outbox.entries(run=run)
    assert outbox.discard(entry.id, f"Discarded by lead: {MARKER} called")
    officer(site)
    assert found_in(site.services.database) == []
