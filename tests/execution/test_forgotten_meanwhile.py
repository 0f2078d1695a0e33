"""Whoever is forgotten in the middle of work about them: nothing goes on with what is in memory, and nothing stays."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from execution.test_escalation import Approval
from muster.database import Database
from muster.errors import TransientError
from muster.events.model import Event, EventType, NewEvent
from muster.events.personal import Vault
from muster.events.sealing import ForgottenMeanwhile
from muster.execution.locking import lease_names
from muster.execution.performing import begin
from muster.execution.personal import RunLog
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.notifications import Delivery, Notice, Sender
from muster.operations.forgetting import Forgotten, forget
from muster.recovery.leases import Leases
from support.reconciled import FakeAirflow, found
from support.runs import MASTER, Site
from support.sources import source_of

MARKER = "zqx-jane-4711"
ABOUT = 'automation: tested\ninputs: {who: {type: string}}\npersonal: {subject: "{{ inputs.who }}"}\nsteps:\n'
SKILLS = source_of(__file__, "forgotten_meanwhile")
pytestmark = pytest.mark.skills(people=SKILLS)


def officer(site: Site) -> Forgotten:
    return forget(
        site.services.database, Vault(lambda: MASTER), MARKER, by="officer", artifacts=site.services.artifacts
    )


class Mail:
    """Counts what leaves; the first time it forgets whom it is about, in the middle, and may fail."""

    def __init__(self, site: Site, *, fails: bool) -> None:
        self.site, self.fails, self.one = site, fails, asyncio.Lock()
        self.forgotten: Forgotten | None = None
        self.sent: list[tuple[str, str]] = []
        database, seals = site.services.database, site.services.log.aseals
        object.__setattr__(site.services, "notices", Sender(database, {"email": self}, seals=seals))

    async def send(self, notice: Notice) -> Delivery:
        async with self.one:
            if self.forgotten is None:
                # Beside what goes on here: who forgets waits for notices that are being claimed.
                self.forgotten = await asyncio.to_thread(officer, self.site)
                if self.fails:
                    raise TransientError("greylisted")
            else:
                self.sent.append((notice.target, notice.text))
        return Delivery(delivered_by="smtp", target=notice.target, reference="x")


def found_in(database: Database) -> list[str]:
    with database.connection() as connection:
        tables = ("events", "runs", "steps", "outbox", "effects", "breakers", "leases", "snapshots", "attempts")
        rows = [row for table in tables for (row,) in connection.execute(f"SELECT to_jsonb(t)::text FROM {table} t")]
    return [row for row in rows if MARKER in row]


SHAPES = {
    "single": "after: []",
    "mapped": "each: [1, 2]",
    "packed": "each: [1, 2]\n    pack: 2",
    "whole": "each: [1, 2]\n    pack: all",
}


@pytest.mark.parametrize(("shape", "lane"), [*((shape, "async") for shape in SHAPES), ("single", "worker")])
@pytest.mark.parametrize("fails", [True, False])
def test_of_whom_is_forgotten_while_notices_are_sent_no_further_one_leaves_or_stays(
    site: Site, database: Database, fails: bool, shape: str, lane: str
) -> None:
    mail = Mail(site, fails=fails)
    notices = "".join(
        f'      - {{email: "{who}@example.com", text: "About {{{{ inputs.who }}}}"}}\n' for who in ("first", "second")
    )
    source = f"{ABOUT}  - id: tell\n    {SHAPES[shape]}\n    lane: {lane}\n    retry: {{times: 1, delay: 0s}}\n"
    run = site.run(site.definition(f"{source}    notify:\n{notices}"), who=MARKER)
    assert mail.forgotten is not None
    assert "second@example.com" in [target for target, _ in mail.sent], "the run goes on"
    # Items of one pack are sent side by side: what was handed to the channel by then is not taken back.
    assert len([text for _, text in mail.sent if MARKER in text]) <= mail.forgotten.unsent - 1
    assert found_in(database) == []
    assert site.state(run).status == "succeeded"


def test_an_item_that_begins_afterwards_is_given_nothing_from_memory(
    site: Site, tmp_path: Path, database: Database
) -> None:
    step = 'id: write, each: [1, 2], skill: people.write, with: {text: "Dear {{ inputs.who }}", item: "{{ item }}"}'
    run = site.open(site.definition(f"{ABOUT}  - {{{step}}}\n"), who=MARKER)
    assert site.expand(run, "write") == 2
    site.step(run, "write", 0)
    assert [MARKER in path.read_text() for path in tmp_path.rglob("*.txt")] == [True]
    assert officer(site).folders == 1
    assert site.step(run, "write", 1).status == "succeeded"
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["2.txt"]
    assert [MARKER in path.read_text() for path in tmp_path.rglob("*.txt")] == [False]


def test_what_waited_for_its_lock_meanwhile_is_done_without_them(
    site: Site, tmp_path: Path, database: Database
) -> None:
    step = 'id: write, skill: people.write, lock: [printer], with: {text: "Dear {{ inputs.who }}", item: 1}'
    run = site.open(site.definition(f"{ABOUT}  - {{{step}}}\n"), who=MARKER)
    leases = Leases(database)
    lease = leases.acquire(lease_names(["printer"], ["printer"]), "somebody", ttl=60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.step, run, "write")
        until = time.monotonic() + 30
        while site.state(run).step("write").whole.status != "running" and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1)
        assert not waiting.done()
        officer(site)
        leases.release(lease)
        assert waiting.result(60).status == "succeeded"
    (letter,) = tmp_path.rglob("*.txt")
    assert MARKER not in letter.read_text()


def to_be_undone(site: Site, undo: str) -> str:
    """A run of which one step was done, which `undo` takes back, and the next has failed."""
    about = ABOUT.replace("steps:", "incidents: [{email: ops@example.com}]\nsteps:")
    steps = f"  - {{id: write, skill: people.write, with: {{text: a, item: 1}}, compensate: {undo}}}\n"
    fails = "  - {id: work, after: [write], skill: people.fail, retry: {times: 0}}\n"
    run = site.open(site.definition(about + steps + fails), who=MARKER)
    site.step(run, "write")
    site.step(run, "work")
    return run


def undone_meanwhile(site: Site, run: str, *, ends: str, pause: float = 0) -> Path:
    """Undo it; they are forgotten once its compensation has said something. The folder where that stands."""
    beside = site.services.workspace(run).parent

    def forgetting() -> None:
        until = time.monotonic() + 30
        while not (beside / "said").exists() and time.monotonic() < until:
            time.sleep(0.05)
        officer(site)
        time.sleep(pause)
        (beside / "goes").touch()

    other = threading.Thread(target=forgetting)
    other.start()
    assert site.unwind(run, {"work": "failed"}) == ends
    other.join()
    return beside


@pytest.mark.parametrize(("text", "ends"), [("Sorry", "succeeded"), ("Sorry {{ inputs.who }}", "failed")])
def test_what_is_undone_meanwhile_is_undone_without_them_or_left_to_people(
    site: Site, database: Database, text: str, ends: str
) -> None:
    retry = "{times: 30, delay: 1s, backoff: 1}"
    run = to_be_undone(site, f"{{skill: people.tell, with: {{text: '{text}'}}, retry: {retry}}}")
    beside = undone_meanwhile(site, run, ends=ends, pause=1)
    # Nothing more is said by an attempt that begins once they are forgotten.
    assert (ends == "failed") == all(MARKER in line for line in (beside / "said").read_text().splitlines())
    assert found_in(database) == []


def test_that_a_run_is_stuck_is_told_also_when_they_are_forgotten_in_the_last_attempt(site: Site) -> None:
    undo = "{skill: people.stall, with: {text: 'Sorry {{ inputs.who }}'}, retry: {times: 0}}"
    run = to_be_undone(site, undo)
    beside = undone_meanwhile(site, run, ends="failed")
    assert (beside / "said").read_text() == f"Sorry {MARKER}"
    (told,) = site.services.notices.outbox.entries(run=run)
    assert (told.target, told.subject) == ("ops@example.com", "Stuck: Tested, write")
    assert f"the run {run} is stuck at write" in told.text


@pytest.mark.parametrize(("hours", "announce", "what"), [(0, "true", "told"), (4, "false", "reminded")])
@pytest.mark.parametrize("fails", [True, False])
def test_whoever_is_still_to_be_told_is_told_without_them(
    site: Site, database: Database, fails: bool, hours: float, announce: str, what: str
) -> None:
    question = f"""
  - id: approve
    human:
      ask: "Sick leave of {{{{ inputs.who }}}}?"
      details: "{{{{ inputs.who | upper }}}} is ill."
      assignees: [lead]
      remind: [4h]
      announce: {announce}
      notify: [{{email: "first@example.com"}}, {{email: "second@example.com"}}, {{email: "{{{{ inputs.who }}}}@x.com"}}]
"""
    waiting = Approval(site, ABOUT.replace("type: string", f"default: {MARKER}") + question)
    mail = Mail(site, fails=fails)
    waiting.at(hours)
    assert mail.forgotten is not None
    # Where the first notice did not leave, it was withdrawn, and another one takes its place.
    places = ["first@example.com", "second@example.com"] if fails else ["second@example.com"]
    assert [target for target, _ in mail.sent] == places
    assert all("[forgotten]\nIt waits for lead." in text for _, text in mail.sent)
    assert found_in(database) == []
    assert len(waiting.events(what)) == 1


def test_what_is_done_elsewhere_begins_without_them(site: Site, database: Database) -> None:
    class Log(RunLog):
        """They are forgotten once the piece was read, before it begins."""

        begins = False

        async def aappend(self, stream: str, events: Sequence[NewEvent], **how: Any) -> list[Event]:
            if not self.begins and any(event.type == EventType.STEP_STARTED for event in events):
                self.begins = True
                await asyncio.to_thread(officer, site)
            return await super().aappend(stream, events, **how)

    ask = '  - {id: approve, human: {ask: "Sick leave of {{ inputs.who }}?", assignees: [lead]}}\n'
    run = site.open(site.definition(ABOUT + ask), who=MARKER)
    site.services = dataclasses.replace(site.services, log=Log(database, lambda: MASTER))
    work_item = site.do(begin(site.services, WorkRef(run=run, step="approve", lane="worker")))
    assert isinstance(work_item, WorkItem)
    assert MARKER not in str(work_item.variables["inputs"])


def test_of_a_notice_and_a_forgetting_at_once_the_notice_is_refused_or_found(site: Site, database: Database) -> None:
    run = site.open(site.definition(f"{ABOUT}  - {{id: a, skill: people.tell, with: {{text: a}}}}\n"), who=MARKER)
    seals = site.do(site.services.log.aseals(run))
    notice = Notice(channel="email", target="a@example.com", text=f"About {MARKER}", key="k", run=run)
    outbox = site.services.notices.outbox
    with ThreadPoolExecutor(1) as pool, database.connection() as connection:
        with connection.transaction():
            connection.execute("UPDATE subjects SET wrapped_key = NULL, forgotten_at = now()")
            claiming = pool.submit(site.do, outbox.claim(notice, timedelta(0), seals.known))
            time.sleep(0.5)
            assert not claiming.done(), "it waits for who forgets"
        with pytest.raises(ForgottenMeanwhile):
            claiming.result(30)
    assert outbox.entries() == []


class Away(Mail):
    """Refuses the first notice, and forgets nobody."""

    async def send(self, notice: Notice) -> Delivery:
        if not self.sent:
            self.sent.append((notice.target, ""))
            raise TransientError("Come again in a minute.")
        return await super().send(notice)


@pytest.mark.parametrize("when", ["never", "meanwhile", "later"])
def test_a_run_is_not_said_to_be_told_of_whose_notice_lost_its_words_before_it_was_sent(site: Site, when: str) -> None:
    undo = "{skill: people.fail, retry: {times: 0}}"
    steps = f"  - {{id: write, skill: people.write, with: {{text: a, item: 1}}, compensate: {undo}}}\n"
    fails = "  - {id: work, after: [write], skill: people.fail, retry: {times: 0}}\n"
    about = ABOUT.replace("steps:", "incidents: [{email: ops@example.com}]\nsteps:")
    run = site.open(site.definition(about + steps + fails), who=MARKER)
    _ = Mail(site, fails=True) if when == "meanwhile" else Away(site, fails=False)
    site.step(run, "write")
    site.step(run, "work")
    assert site.unwind(run, {"work": "failed"}) == "failed"
    site.close(run, {"work": "failed", "unwind.write": "failed"})
    if when == "later":
        officer(site)
    looked = found(site, FakeAirflow("failed"), later=timedelta(hours=1))
    assert [each.told for each in looked if each.kind == "stuck"] == [when == "never"]
