"""Each notice is delivered at least once, and not again by a retry."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from muster.database import Database
from muster.errors import ErrorClass, PermanentError, TransientError
from muster.notifications import Delivery, Notice, Outbox, Sender
from muster.recovery import EffectConflict
from muster.recovery.breakers import BreakerOpen, Policy
from muster.recovery.ledger import Ledger

NOTICE = Notice(
    channel="slack",
    target="#finance-ops",
    text="Posted 3 invoices",
    key="invoices/r1/tell[0]",
    run="invoices/r1",
)


class Journal:
    """A channel that notes what it is given in a file, and fails as it is told."""

    def __init__(self, path: Path, *, errors: list[Exception] | None = None, delay: float = 0.0) -> None:
        self.path = path
        self.errors = errors or []
        self.delay = delay

    async def send(self, notice: Notice) -> Delivery:
        """Write one line."""
        await asyncio.sleep(self.delay)
        if self.errors:
            raise self.errors.pop(0)
        with self.path.open("a") as file:
            file.write(f"{notice.text}\n")
        return Delivery(delivered_by="slack", target=notice.target, reference="ok")

    @property
    def sent(self) -> list[str]:
        """What was sent so far."""
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A channel that works."""
    return Journal(tmp_path / "sent")


async def test_a_retry_of_a_delivered_notice_sends_nothing(database: Database, journal: Journal) -> None:
    sender = Sender(database, {"slack": journal})
    first, second = await sender.send(NOTICE), await sender.send(NOTICE)
    assert journal.sent == ["Posted 3 invoices"]
    assert (first.repeated, second.repeated) == (False, True)
    assert second.model_copy(update={"repeated": False}) == first


async def test_two_senders_at_once_send_once(database: Database, journal: Journal) -> None:
    journal.delay = 0.3
    senders = [Sender(database, {"slack": journal}) for _ in range(3)]
    deliveries = await asyncio.gather(*(sender.send(NOTICE) for sender in senders))
    assert journal.sent == ["Posted 3 invoices"]
    assert sorted(delivery.repeated for delivery in deliveries) == [False, True, True]


async def test_different_notices_are_all_sent(database: Database, journal: Journal) -> None:
    sender = Sender(database, {"slack": journal})
    await asyncio.gather(*(sender.send(NOTICE.model_copy(update={"key": f"k{n}"})) for n in range(8)))
    assert len(journal.sent) == 8


async def test_without_a_channel_the_notice_is_kept_and_says_so(database: Database) -> None:
    delivery = await Sender(database).send(NOTICE)
    [entry] = Outbox(database).entries(run="invoices/r1")
    assert delivery.delivered_by == "outbox"
    assert "nobody has set up slack" in delivery.note
    assert (entry.status, entry.text, entry.note, entry.reference) == (
        "kept",
        "Posted 3 invoices",
        delivery.note,
        delivery.reference,
    )
    assert delivery.reference == f"outbox/{entry.id}"


async def test_a_failed_notice_shows_its_error_and_a_retry_delivers_it(database: Database, journal: Journal) -> None:
    journal.errors = [TransientError("Slack answered 429.", retry_after=3)]
    sender = Sender(database, {"slack": journal})
    with pytest.raises(TransientError) as caught:
        await sender.send(NOTICE)
    assert caught.value.retry_after == 3
    [entry] = Outbox(database).entries(status="failed")
    assert entry.error == "TransientError: Slack answered 429."
    await sender.send(NOTICE)
    [entry] = Outbox(database).entries()
    assert (entry.status, entry.error, entry.attempts) == ("sent", None, 2)


async def test_what_was_sent_and_what_was_not_is_in_the_ledger_of_effects(database: Database, journal: Journal) -> None:
    journal.errors = [TransientError("the line was cut")]
    ledger, sender = Ledger(database), Sender(database, {"slack": journal})
    with pytest.raises(TransientError):
        await sender.send(NOTICE)
    [entry] = ledger.entries(in_doubt=True)
    assert (entry.kind, entry.run, entry.status) == ("slack", "invoices/r1", "unknown")
    await sender.send(NOTICE)
    [entry] = ledger.entries()
    assert (entry.status, entry.attempt, entry.result["reference"]) == ("done", 2, "ok")
    assert "finance-ops" not in str(entry), "who was told is personal, and is in the outbox only"
    await sender.send(NOTICE.model_copy(update={"channel": "email", "target": "a@example.com", "key": "other"}))
    assert ledger.entries()[0].status == "failed", "nobody was told, so nothing has happened"


async def test_a_notice_that_was_sent_is_not_sent_again_when_only_the_outbox_does_not_know(
    database: Database, journal: Journal
) -> None:
    sender = Sender(database, {"slack": journal})
    await sender.send(NOTICE)
    async with database.aconnection() as connection:
        await connection.execute("UPDATE outbox SET status = 'pending', delivered_by = NULL, reference = NULL")
    delivery = await sender.send(NOTICE)
    assert (journal.sent, delivery.delivered_by) == (["Posted 3 invoices"], "slack")


async def test_a_key_that_was_used_for_another_place_is_refused(database: Database, journal: Journal) -> None:
    sender = Sender(database, {"slack": journal})
    await sender.send(NOTICE)
    async with database.aconnection() as connection:
        await connection.execute("DELETE FROM outbox")
    with pytest.raises(EffectConflict):
        await sender.send(NOTICE.model_copy(update={"target": "#elsewhere"}))
    assert journal.sent == ["Posted 3 invoices"]


async def test_a_channel_that_hangs_is_given_up_and_can_be_retried(database: Database, journal: Journal) -> None:
    journal.delay = 30
    with pytest.raises(TransientError, match="did not accept"):
        await Sender(database, {"slack": journal}, patience=0.1).send(NOTICE)
    journal.delay = 0
    await Sender(database, {"slack": journal}).send(NOTICE)
    assert journal.sent == ["Posted 3 invoices"]


async def test_a_channel_that_times_out_by_itself_is_not_said_to_have_had_all_the_time_there_is(
    database: Database, journal: Journal
) -> None:
    journal.errors = [TimeoutError("no answer to the handshake")]
    with pytest.raises(TransientError, match="did not accept") as failure:
        await Sender(database, {"slack": journal}).send(NOTICE)
    assert failure.value.message.endswith(": no answer to the handshake.")
    assert failure.value.error_class == ErrorClass.TIMEOUT


async def test_a_slow_failure_does_not_undo_a_newer_success(
    database: Database, journal: Journal, tmp_path: Path
) -> None:
    slow = Journal(tmp_path / "slow", errors=[PermanentError("refused")], delay=0.8)
    overtaken = asyncio.create_task(Sender(database, {"slack": slow}, patience=5, grace=-4.9).send(NOTICE))
    await asyncio.sleep(0.3)
    await Sender(database, {"slack": journal}).send(NOTICE)
    with pytest.raises(PermanentError):
        await overtaken
    [entry] = Outbox(database).entries()
    assert entry.status == "sent"


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from muster.database import Database
from muster.notifications import Delivery, Sender, Notice

class Dying:
    async def send(self, notice):
        if {after_sending}:
            Path({sent!r}).write_text(notice.text + chr(10))
        os.kill(os.getpid(), signal.SIGKILL)

notice = Notice.model_validate_json({notice!r})
asyncio.run(Sender(Database({dsn!r}), {{"slack": Dying()}}, patience=0.4, grace=0.4).send(notice))
"""


@pytest.mark.parametrize("after_sending", [False, True])
async def test_killed_after_the_record_the_next_attempt_still_sends(
    database: Database, dsn: str, journal: Journal, after_sending: bool
) -> None:
    code = KILLED.format(after_sending=after_sending, sent=str(journal.path), notice=NOTICE.model_dump_json(), dsn=dsn)
    died = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=False, env=dict(os.environ))
    assert died.returncode == -signal.SIGKILL
    [entry] = Outbox(database).entries()
    assert entry.status == "pending"
    await Sender(database, {"slack": journal}).send(NOTICE)
    [entry] = Outbox(database).entries()
    assert (entry.status, entry.attempts) == ("sent", 2)
    # At least once: whoever dies after sending and before recording is repeated.
    assert len(journal.sent) == (2 if after_sending else 1)


async def test_a_channel_that_keeps_failing_is_left_alone_and_its_notices_wait(
    database: Database, journal: Journal
) -> None:
    policy = Policy(failures=2, open_seconds=3)
    sender = Sender(database, {"slack": journal}, policy=policy)
    journal.errors = [TransientError("Slack answered 503.") for _ in range(2)]
    for number in range(2):
        with pytest.raises(TransientError, match="503"):
            await sender.send(NOTICE.model_copy(update={"key": f"before/{number}"}))
    with pytest.raises(BreakerOpen) as left_alone:
        await sender.send(NOTICE)
    assert left_alone.value.name == "host:slack"
    assert left_alone.value.retry_after
    [entry] = Outbox(database).entries(run="invoices/r1", status="pending")
    assert entry.error is not None
    assert ("host:slack is open" in entry.error, entry.may_pass, journal.sent) == (True, True, [])
    waiting = Outbox(database).undelivered(datetime.now(UTC))
    assert NOTICE.key in [it.key for it in waiting], "the reconciler finds it"
    assert [it.key for it in Ledger(database).entries(in_doubt=True)] == ["notice/before/1", "notice/before/0"]

    await asyncio.sleep(left_alone.value.retry_after)
    assert (await sender.send(NOTICE)).delivered_by == "slack"
    assert (await sender.send(NOTICE)).repeated
    assert journal.sent == ["Posted 3 invoices"], "sent later, and once"


async def test_what_a_channel_refuses_for_good_does_not_close_it_to_others(
    database: Database, journal: Journal
) -> None:
    sender = Sender(database, {"slack": journal}, policy=Policy(failures=1))
    journal.errors = [PermanentError("There is no such channel.")]
    with pytest.raises(PermanentError):
        await sender.send(NOTICE.model_copy(update={"key": "refused"}))
    assert (await sender.send(NOTICE)).delivered_by == "slack"


async def test_a_channel_that_does_not_answer_in_time_counts_as_one_that_fails(
    database: Database, journal: Journal
) -> None:
    journal.delay = 5
    sender = Sender(database, {"slack": journal}, patience=0.1, policy=Policy(failures=1))
    with pytest.raises(TransientError, match=r"within 0\.1 s"):
        await sender.send(NOTICE.model_copy(update={"key": "slow"}))
    with pytest.raises(BreakerOpen):
        await sender.send(NOTICE)
