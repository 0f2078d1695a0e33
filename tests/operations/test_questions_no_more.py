"""What was still to be said of a question is not once it has its answer; of one that waits nobody is told twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from execution.test_forgotten_meanwhile import ABOUT, MARKER, SKILLS, officer
from muster.approvals import asking
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.telling import tell
from muster.execution.work_item import WorkItem
from muster.recovery.ledger import Ledger
from muster.saga.incidents import NOBODY
from operations.test_untold_forgotten import STEPS, Post
from support.reconciled import FakeAirflow, found
from support.runs import Site

pytestmark = pytest.mark.skills(people=SKILLS)
PLAIN = "automation: tested\ninputs: {who: {type: string}}\nsteps:\n"
MAIL = "notify: [{email: away@example.com}]"
FIRST = f"  - {{id: first, human: {{ask: 'Pay?', assignees: [lead], remind: [1h, 2h], {MAIL}}}}}\n"
SECOND = "  - {id: second, human: {ask: 'Sure?', assignees: [lead], notify: [{email: office@example.com}]}}\n"
LIST = """  - id: each
    after: []
    each: [1, 2, 3]
    human: {ask: "Pay {{ item }}?", assignees: [lead], notify: [{email: away@example.com}]}
"""


def put(site: Site, run: str, step: str, slot: int | None = None, after: timedelta = timedelta(0)) -> None:
    """The question is put, and looked after until a time."""
    ref = WorkRef(run=run, step=step, slot=slot, lane="worker")

    async def asked() -> None:
        work_item = await begin(site.services, ref)
        assert isinstance(work_item, WorkItem)
        await asking.request(site.services, work_item)
        await asking.look(site.services, ref)
        object.__setattr__(site.services, "clock", lambda: datetime.now(UTC) + after)
        await asking.look(site.services, ref)

    site.do(asked())


def reconciled(site: Site) -> None:
    for hour in range(3):
        found(site, FakeAirflow("running"), later=timedelta(hours=2 + hour))


def told_in_common(site: Site) -> list[str]:
    """What the common channel was told, of which nobody has taken the words."""
    entries = site.services.notices.outbox.entries()
    return [entry.text for entry in entries if entry.target.startswith("#") and "waits no more" not in entry.note]


@pytest.mark.parametrize("head", [PLAIN, ABOUT], ids=["about nobody", "about somebody"])
@pytest.mark.parametrize("forgotten", [False, True])
def test_once_it_is_answered_nothing_more_is_said_of_it(site: Site, head: str, forgotten: bool) -> None:
    post = Post(site, "away")
    run = site.open(site.definition(head + FIRST), who=MARKER)
    put(site, run, "first", after=timedelta(hours=3))
    if forgotten and head == ABOUT:
        officer(site)
    site.approve(run, "first", by="lead")
    post.away = None
    reconciled(site)
    assert (post.sent, told_in_common(site)) == ([], [])


def test_while_it_waits_it_is_sent_as_soon_as_its_channel_is_back(site: Site) -> None:
    post = Post(site, "away")
    run = site.open(site.definition(PLAIN + FIRST), who=MARKER)
    put(site, run, "first")
    post.away = None
    reconciled(site)
    assert post.sent == ["away@example.com"]


def test_nobody_is_told_that_another_question_waits(site: Site) -> None:
    post = Post(site, "away")
    run = site.open(site.definition(ABOUT + FIRST + SECOND), who=MARKER)
    put(site, run, "first")
    site.approve(run, "first", by="lead")
    put(site, run, "second")
    assert post.sent == ["office@example.com"]
    officer(site)
    assert told_in_common(site) == []


def test_of_a_question_with_reminders_and_of_a_list_the_common_channel_is_told_once(site: Site) -> None:
    Post(site, "away")
    run = site.open(site.definition(ABOUT + FIRST + LIST), who=MARKER)
    put(site, run, "first", after=timedelta(hours=3))
    site.expand(run, "each")
    for slot in range(3):
        put(site, run, "each", slot)
    officer(site)
    assert sorted(text.partition(" of run ")[0] for text in told_in_common(site)) == ["Step each", "Step first"]


def test_a_missed_deadline_that_was_still_to_be_told_is_told_without_them(site: Site) -> None:
    run = site.open(site.definition(ABOUT + STEPS), who=MARKER)
    post = Post(site)

    async def words() -> list[dict[str, object]]:
        given = {"channel": "email", "subject": "", "text": f"{run} is late", "run": run}
        return [{**given, "target": f"{n}@example.com", "key": f"{run}/deadline/7/notice/{n}"} for n in range(2)]

    assert len(site.do(tell(site.services, run, "", words, otherwise=NOBODY))) == 2
    officer(site)
    officer(site)
    post.away = None
    reconciled(site)
    [text] = told_in_common(site)
    assert (post.sent, text.partition(",")[0]) == ([], f"Run {run} had not finished by its deadline")


def test_one_whose_sender_died_is_no_effect_in_doubt_once_it_is_answered(site: Site) -> None:
    run = site.open(site.definition(PLAIN + SECOND), who=MARKER)
    Post(site, "nobody")
    put(site, run, "second")
    with site.services.database.connection() as connection:  # As whoever dies between sending and writing so leaves it.
        connection.execute("UPDATE outbox SET status = 'pending', claimed_until = now() - interval '1 minute'")
        connection.execute("UPDATE effects SET status = 'begun', claimed_until = now() - interval '1 minute'")
    ledger = Ledger(site.services.database)
    assert len(ledger.entries(in_doubt=True)) == 1
    site.approve(run, "second", by="lead")
    reconciled(site)
    assert ledger.entries(in_doubt=True) == []
