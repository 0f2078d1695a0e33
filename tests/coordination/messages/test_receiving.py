"""What was handed out comes again until it is settled, at most so often; one conversation comes in order."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import psycopg
import pytest

from coordination.messages.conftest import RUN
from muster.coordination.messages import Delivery, DeliveryLost, Draft, MessageRefused, Post, Rules
from muster.database import Database

TimePasses = Callable[[float], None]


def bodies(deliveries: list[Delivery]) -> list[object]:
    return [each.body for each in deliveries]


def test_what_is_acknowledged_comes_no_more_and_what_is_not_comes_again(post: Post, time_passes: TimePasses) -> None:
    coder = post.mailbox(RUN, "coder")
    post.mailbox(RUN, "lead").send_all([Draft(to=("coder",), body=number) for number in (1, 2)])
    first, second = coder.receive(9)
    assert coder.receive(9) == []
    coder.acknowledge(first)
    time_passes(31)
    [again] = coder.receive(9)
    assert (again.body, again.attempt) == (2, 2)
    with pytest.raises(DeliveryLost):
        coder.acknowledge(second)
    coder.acknowledge(again)
    with pytest.raises(DeliveryLost):
        coder.acknowledge(again)
    time_passes(3_600)
    assert coder.receive(9) == []


def test_one_whose_time_ran_out_may_still_be_acknowledged_if_nobody_else_has_it(
    post: Post, time_passes: TimePasses
) -> None:
    coder = post.mailbox(RUN, "coder")
    post.mailbox(RUN, "lead").send("coder", 1)
    [delivery] = coder.receive()
    time_passes(31)
    coder.acknowledge(delivery)
    assert coder.receive() == []


def test_what_fails_waits_longer_each_time_and_is_a_dead_letter_after_the_limit(
    database: Database, time_passes: TimePasses
) -> None:
    post = Post(database, rules=Rules(limit=3, delay=10, factor=3))
    coder = post.mailbox(RUN, "coder")
    id = post.mailbox(RUN, "lead").send("coder", 1)
    for wait in (10, 30):
        [delivery] = coder.receive()
        assert not coder.reject(delivery, "no")
        time_passes(wait - 1)
        assert coder.receive() == []
        time_passes(2)
    [delivery] = coder.receive()
    assert coder.reject(delivery, "never")
    assert coder.receive() == []
    [letter] = post.dead_letters(run=RUN)
    assert (letter.envelope.id, letter.error, letter.attempts) == (id, "never", 3)

    post.send_again(letter)
    [delivery] = coder.receive()
    assert (delivery.body, delivery.attempt) == (1, 1)
    coder.acknowledge(delivery)
    assert post.dead_letters(run=RUN) == []
    with pytest.raises(MessageRefused, match="no dead letter"):
        post.send_again(letter)


def test_whoever_dies_with_a_message_makes_it_a_dead_letter_after_the_limit(
    database: Database, time_passes: TimePasses
) -> None:
    post = Post(database, rules=Rules(limit=2))
    coder = post.mailbox(RUN, "coder")
    lead = post.mailbox(RUN, "lead")
    lead.send("coder", 1, correlation="c")
    lead.send("coder", 2, correlation="c")
    for _ in range(2):
        assert bodies(coder.receive(9)) == [1]
        time_passes(600)
    # The next of the conversation comes in its place.
    assert bodies(coder.receive(9)) == [2]
    assert [letter.error for letter in post.dead_letters()] == ["handed out 2 times and never settled"]


def test_one_that_is_rejected_for_good_is_a_dead_letter_at_once(post: Post) -> None:
    coder = post.mailbox(RUN, "coder")
    post.mailbox(RUN, "lead").send("coder", 1)
    [delivery] = coder.receive()
    assert coder.reject(delivery, "garbage", final=True)
    assert [letter.error for letter in post.dead_letters(run=RUN)] == ["garbage"]


def test_one_that_is_deferred_waits_and_counts_as_not_handed_out(post: Post, time_passes: TimePasses) -> None:
    coder = post.mailbox(RUN, "coder")
    post.mailbox(RUN, "lead").send("coder", 1)
    for _ in range(9):
        [delivery] = coder.receive()
        assert delivery.attempt == 1
        coder.defer(delivery, 60)
        assert coder.receive() == []
        time_passes(61)
    with pytest.raises(DeliveryLost):
        coder.acknowledge(delivery)


def test_one_with_a_delay_is_not_handed_out_before(post: Post, time_passes: TimePasses) -> None:
    post.mailbox(RUN, "lead").send("coder", 1, delay=60)
    assert post.mailbox(RUN, "coder").receive() == []
    time_passes(61)
    assert bodies(post.mailbox(RUN, "coder").receive()) == [1]


def test_larger_priorities_come_first_but_within_a_conversation_the_earlier_message(post: Post) -> None:
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    lead.send("coder", "plain")
    lead.send("coder", "first", correlation="c", priority=-1)
    lead.send("coder", "second", correlation="c", priority=9)
    lead.send("coder", "urgent", priority=1)
    found = coder.receive(9)
    assert bodies(found) == ["urgent", "plain", "first"]
    coder.acknowledge(found[-1])
    assert bodies(coder.receive(9)) == ["second"]


def test_a_later_message_of_a_conversation_waits_until_the_earlier_one_is_settled_for_good(
    post: Post, time_passes: TimePasses
) -> None:
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    for number in range(5):
        lead.send("coder", number, correlation="c", expires_in=10_000 if number == 3 else None)
    lead.send("tester", "other mailbox", correlation="c")
    [delivery] = coder.receive(9)
    assert delivery.body == 0
    assert bodies(post.mailbox(RUN, "tester").receive(9)) == ["other mailbox"]
    time_passes(31)
    [delivery] = coder.receive(9)
    coder.reject(delivery, "not now")
    assert coder.receive(9) == []
    time_passes(31)
    [delivery] = coder.receive(9)
    coder.defer(delivery, 10)
    assert coder.receive(9) == []
    time_passes(31)
    for expected in (0, 1):
        [delivery] = coder.receive(9)
        assert delivery.body == expected
        coder.acknowledge(delivery)
    [delivery] = coder.receive(9)
    assert coder.reject(delivery, "bad", final=True)
    time_passes(10_001)
    # The fourth has expired meanwhile.
    assert bodies(coder.receive(9)) == [4]


def test_the_message_that_begins_a_conversation_is_a_part_of_it(post: Post) -> None:
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    id = lead.send("coder", "question")
    lead.send("coder", "more", correlation=str(id))
    assert bodies(coder.receive(9)) == ["question"]


def test_one_that_was_sent_while_the_one_before_it_was_settled_is_not_forgotten(post: Post, dsn: str) -> None:
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    lead.send("coder", 1, correlation="c")
    [delivery] = coder.receive()
    with psycopg.connect(dsn) as connection:
        # It sees the first one, which is acknowledged before this is committed.
        lead.send("coder", 2, correlation="c", within=connection)
        coder.acknowledge(delivery)
    assert bodies(coder.receive(9)) == [2]


def test_of_two_that_became_visible_in_the_other_order_only_one_is_out_at_a_time(post: Post, dsn: str) -> None:
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    with psycopg.connect(dsn) as connection:
        lead.send("coder", "numbered first", correlation="c", within=connection)
        lead.send("coder", "visible first", correlation="c")
        [delivery] = coder.receive(9)
        assert delivery.body == "visible first"
    assert coder.receive(9) == []
    coder.acknowledge(delivery)
    assert bodies(coder.receive(9)) == ["numbered first"]


def test_many_receivers_at_once_get_each_message_once_and_conversations_in_order(post: Post) -> None:
    lead = post.mailbox(RUN, "lead")
    chance = random.Random(1)
    lead.send_all(
        [
            Draft(to=("coder",), body=[number % 7, number], correlation=str(number % 7), priority=chance.randint(0, 3))
            for number in range(140)
        ]
    )
    lock, seen, out = threading.Lock(), list[tuple[int, int]](), set[int]()
    wrong: list[object] = []

    def work() -> None:
        coder = post.mailbox(RUN, "coder")
        while len(seen) < 140:
            for delivery in coder.receive(3):
                conversation, number = delivery.body
                with lock:
                    wrong.extend([delivery] if conversation in out else [])
                    out.add(conversation)
                    seen.append((conversation, number))
                with lock:
                    out.discard(conversation)
                coder.acknowledge(delivery)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for conversation in range(7):
        numbers = [number for which, number in seen if which == conversation]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 20


def test_what_has_expired_is_not_handed_out_but_what_is_at_work_may_be_acknowledged(
    post: Post, time_passes: TimePasses
) -> None:
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    lead.send("coder", 1, expires_in=5)
    lead.send("coder", 2, expires_in=5)
    [at_work] = coder.receive()
    time_passes(6)
    assert coder.receive(9) == []
    coder.acknowledge(at_work)
    assert {each.envelope.body: each.status for each in post.messages(run=RUN)} == {1: "acknowledged", 2: "expired"}


def test_an_effect_is_committed_with_its_acknowledgement_or_not_at_all(
    post: Post, database: Database, time_passes: TimePasses
) -> None:
    with database.connection() as connection:
        connection.execute("CREATE TABLE effect (n int)")
    coder = post.mailbox(RUN, "coder")
    post.mailbox(RUN, "lead").send("coder", 1)
    [slow] = coder.receive()
    time_passes(31)
    [fast] = coder.receive()
    for delivery in (fast, slow):
        try:
            with post.transaction() as connection:
                connection.execute("INSERT INTO effect VALUES (1)")
                coder.send("lead", "done", within=connection)
                coder.acknowledge(delivery, within=connection)
        except DeliveryLost:
            assert delivery is slow
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM effect").fetchone() == (1,)
    assert bodies(post.mailbox(RUN, "lead").receive(9)) == ["done"]
