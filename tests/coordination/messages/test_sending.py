"""What is sent is stored once, from whom it is, and fits its schema; or it is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from uuid import RFC_4122, uuid4

import pytest
from pydantic import ValidationError

from coordination.messages.conftest import RUN, Quote
from muster.coordination.messages import Draft, MessageRefused, Post, Schemas
from muster.coordination.messages.model import new_id
from muster.coordination.messages.sending import LARGEST
from muster.database import Database
from muster.errors import PermanentError
from muster.redaction import learn

TimePasses = Callable[[float], None]


def test_a_message_comes_as_it_was_sent(post: Post) -> None:
    cause = uuid4()
    id = post.mailbox(RUN, "planner").send(
        "coder",
        {"text": "Größe \0 🦀", "n": 1, "list": [1, None]},
        topic="work",
        correlation="c",
        causation=cause,
        reply_to="lead",
        schema="count",
        priority=3,
        expires_in=60,
    )
    [delivery] = post.mailbox(RUN, "coder").receive(9)
    sent = delivery.envelope
    assert (sent.id, sent.run, sent.sender, sent.recipient, sent.topic) == (id, RUN, "planner", "coder", "work")
    assert (sent.correlation, sent.causation, sent.reply_to, sent.schema_name) == ("c", cause, "lead", "count")
    assert sent.priority == 3
    assert sent.expires_at is not None
    assert (sent.expires_at - sent.sent_at).total_seconds() == pytest.approx(60, abs=1)
    assert delivery.body == {"text": "Größe \0 🦀", "n": 1, "list": [1, None]}
    assert delivery.attempt == 1


def test_sent_twice_under_one_id_it_is_stored_once(post: Post) -> None:
    planner, id = post.mailbox(RUN, "planner"), uuid4()
    assert planner.send("coder", 1, id=id) == planner.send("coder", 1, id=id) == id
    assert len(post.messages(run=RUN)) == 1
    with pytest.raises(MessageRefused, match="said something else"):
        planner.send("coder", 2, id=id)
    with pytest.raises(MessageRefused, match="said something else"):
        planner.send("tester", 1, id=id)
    with pytest.raises(MessageRefused, match="said something else"):
        post.mailbox(RUN, "somebody").send("coder", 1, id=id)


def test_nor_is_a_message_to_several_stored_twice(post: Post) -> None:
    planner, id = post.mailbox(RUN, "planner"), uuid4()
    for _ in range(2):
        planner.send(["coder", "tester"], 1, id=id)
    assert [len(post.mailbox(RUN, owner).receive(9)) for owner in ("coder", "tester")] == [1, 1]


def test_several_are_sent_all_or_none(post: Post) -> None:
    planner = post.mailbox(RUN, "planner")
    planner.send("coder", 1, id=(taken := uuid4()))
    with pytest.raises(MessageRefused):
        planner.send_all([Draft(to=("coder",), body=2), Draft(to=("coder",), body=3, id=taken)])
    planner.send_all([Draft(to=("coder",), body=number) for number in (4, 5)])
    assert [each.body for each in post.mailbox(RUN, "coder").receive(9)] == [1, 4, 5]


def test_a_broadcast_comes_to_all_that_subscribe_and_not_to_its_sender(post: Post) -> None:
    boxes = {owner: post.mailbox(RUN, owner) for owner in ("lead", "coder", "tester", "other")}
    for owner in ("lead", "coder", "tester"):
        boxes[owner].subscribe("news")
        boxes[owner].subscribe("news")
    boxes["tester"].unsubscribe("news")
    post.mailbox("another/run", "coder").subscribe("news")
    id = boxes["lead"].broadcast("news", "hello")
    found = {owner: [each.envelope.id for each in box.receive(9)] for owner, box in boxes.items()}
    assert found == {"lead": [], "coder": [id], "tester": [], "other": []}
    assert post.mailbox("another/run", "coder").receive() == []


def test_a_body_that_does_not_fit_its_schema_is_refused_at_its_place(post: Post) -> None:
    planner = post.mailbox(RUN, "planner")
    with pytest.raises(MessageRefused, match=r"`quote`: prices\.1: must be a whole number"):
        planner.send("coder", {"part": "x", "prices": [1, "a"]}, schema="quote")
    with pytest.raises(MessageRefused, match=r"`count`: n: 'a' is not of type 'integer'"):
        planner.send("coder", {"n": "a"}, schema="count")
    with pytest.raises(MessageRefused, match=r"There is no schema `quotes`.*count, quote"):
        planner.send("coder", {}, schema="quotes")
    planner.send("coder", Quote(part="x", prices=[1]), schema="quote")
    assert [each.body for each in post.mailbox(RUN, "coder").receive(9)] == [{"part": "x", "prices": [1]}]
    with pytest.raises(MessageRefused, match="not a JSON Schema"):
        Schemas({"odd": {"type": "integr"}})


@pytest.mark.parametrize("name", ["", "a/b", " a", "a\n", "a" * 201, "\0"])
def test_no_mailbox_has_a_name_that_could_stand_for_another(post: Post, name: str) -> None:
    with pytest.raises(MessageRefused, match="cannot be the name"):
        post.mailbox(RUN, name)
    with pytest.raises(MessageRefused, match="cannot be the name"):
        post.mailbox(RUN, "planner").send(name, 1)


def test_what_cannot_be_sent_is_refused(post: Post) -> None:
    planner = post.mailbox(RUN, "planner")
    with pytest.raises(MessageRefused, match="for nobody"):
        planner.send_all([Draft(body=1)])
    with pytest.raises(MessageRefused, match="at most"):
        planner.send("coder", "x" * LARGEST)
    with pytest.raises(PermanentError, match="JSON"):
        planner.send("coder", {1, 2})


def test_nothing_that_is_sent_says_who_sends_it(post: Post) -> None:
    with pytest.raises(ValidationError, match="sender"):
        Draft.model_validate({"to": ["coder"], "sender": "lead"})
    with pytest.raises(ValidationError, match="sender"):
        post.mailbox(RUN, "planner").send("coder", 1, sender="lead")
    post.mailbox(RUN, "planner").send("coder", {"sender": "lead", "from": "lead"})
    [delivery] = post.mailbox(RUN, "coder").receive()
    assert delivery.envelope.sender == "planner"


def test_no_secret_is_stored(post: Post, database: Database) -> None:
    learn("hunter2-hunter2")
    post.mailbox(RUN, "planner").send("coder", {"text": "it is hunter2-hunter2"})
    with database.connection() as connection:
        assert connection.execute("SELECT body::text FROM messages").fetchall() == [('{"text":"it is [redacted]"}',)]


def test_a_request_is_answered_where_it_was_asked(post: Post) -> None:
    import threading

    def answer() -> None:
        coder = post.mailbox(RUN, "coder")
        [asked] = coder.receive(wait=20)
        coder.reply(asked, asked.body + 1)

    thread = threading.Thread(target=answer)
    thread.start()
    lead = post.mailbox(RUN, "lead")
    reply = lead.request("coder", 41, within_seconds=20)
    thread.join()
    lead.acknowledge(reply)
    assert (reply.body, reply.envelope.sender) == (42, "coder")
    assert reply.envelope.correlation == str(reply.envelope.causation)
    assert {each.status for each in post.messages(run=RUN)} == {"acknowledged"}


def test_a_reply_to_an_expired_conversation_is_refused_in_words(post: Post, time_passes: TimePasses) -> None:
    post.mailbox(RUN, "lead").send("coder", 1, expires_in=30, correlation="c")
    coder = post.mailbox(RUN, "coder")
    [asked] = coder.receive()
    time_passes(31)
    with pytest.raises(MessageRefused, match=r"The conversation expired at .*, so the reply comes too late"):
        coder.reply(asked, 2)
    assert len(post.messages(run=RUN)) == 1


def test_ids_begin_with_the_time_and_are_of_version_7() -> None:
    ids = [new_id() for _ in range(2_000)]
    assert len(set(ids)) == 2_000
    assert {(id.version, id.variant) for id in ids} == {(7, RFC_4122)}
    assert [id.int >> 80 for id in ids] == sorted(id.int >> 80 for id in ids)
