"""A message and the event that causes it are both written, or neither."""

from __future__ import annotations

import pytest

from coordination.messages.conftest import RUN
from muster.coordination.messages import Draft, MessageRefused, Post
from muster.database import Database
from muster.errors import ConcurrencyError
from muster.events.log import EventLog
from muster.events.model import Event, NewEvent
from muster.events.verified import VerifiedLog

PLANNED = NewEvent(type="planned", key="plan", data={"step": "plan"})


@pytest.fixture(params=[EventLog, VerifiedLog])
def log(request: pytest.FixtureRequest, database: Database) -> EventLog:
    made: EventLog = request.param(database)
    return made


def work(events: list[Event]) -> list[Draft]:
    return [Draft(to=("coder",), body=str(event.id)) for event in events]


def test_a_message_is_sent_with_its_event_and_names_it(post: Post, log: EventLog) -> None:
    [event] = post.mailbox(RUN, "lead").send_with(log, [PLANNED], work)
    [delivery] = post.mailbox(RUN, "coder").receive()
    assert (delivery.envelope.causation, delivery.body) == (event.id, str(event.id))
    assert list(log.read(RUN)) == [event]
    # Appended again under its key, neither is written a second time.
    assert post.mailbox(RUN, "lead").send_with(log, [PLANNED], work) == [event]
    assert len(post.messages(run=RUN)) == 1


async def test_so_it_is_by_a_coroutine(database: Database, log: EventLog) -> None:
    post = Post(database)
    await post.mailbox(RUN, "lead").asend_with(log, [PLANNED], work)
    assert len(await post.mailbox(RUN, "coder").areceive()) == 1
    post.close()


def test_an_event_whose_message_is_refused_is_not_written_and_the_stream_goes_on(post: Post, log: EventLog) -> None:
    log.append(RUN, [NewEvent(type="noted", data={})])
    with pytest.raises(MessageRefused):
        post.mailbox(RUN, "lead").send_with(log, [PLANNED], lambda _: [Draft(to=("coder",), body=1, schema="none")])
    assert [event.type for event in log.read(RUN)] == ["noted"]
    log.append(RUN, [NewEvent(type="noted", data={})])
    log.append(RUN, [NewEvent(type="noted", data={})])
    assert [event.version for event in log.read(RUN)] == [1, 2, 3]
    assert log.verify(RUN) is None


def test_a_message_whose_event_is_refused_is_not_sent(post: Post, log: EventLog) -> None:
    log.append(RUN, [NewEvent(type="noted", data={})])
    with pytest.raises(ConcurrencyError):
        post.mailbox(RUN, "lead").send_with(log, [PLANNED], work, expected=0)
    assert post.messages(run=RUN) == []
