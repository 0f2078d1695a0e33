"""What becomes of messages when their run ends, is pruned, or the person it is about is forgotten."""

from __future__ import annotations

import psycopg
import pytest

from coordination.messages.conftest import RUN
from muster.coordination.messages import MessageRefused, Post
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import NewEvent
from muster.events.personal import Vault
from muster.events.sealing import Seals, working_about
from muster.operations.forgetting import forget
from muster.recovery.pruning import prune


def end(dsn: str, days: int = 0) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO runs (id, status, closed_at, calls, cost_usd)"
            " VALUES (%s, 'succeeded', clock_timestamp() - make_interval(days => %s), 0, 0)",
            (RUN, days),
        )


def test_what_was_not_delivered_when_its_run_ends_has_expired_and_nothing_more_is_sent(post: Post, dsn: str) -> None:
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    lead.send("coder", 1)
    lead.send("tester", 2)
    post.mailbox("another/run", "lead").send("coder", 3)
    end(dsn)
    assert coder.receive(9) == []
    assert post.expire() == 1
    assert {each.error for each in post.messages(run=RUN, status="expired")} == {"the run has ended"}
    with pytest.raises(MessageRefused, match="has ended"):
        lead.send("coder", 4)
    with pytest.raises(MessageRefused, match="has ended"):
        lead.send(["coder", "tester"], 4)
    assert len(post.mailbox("another/run", "coder").receive()) == 1


def test_messages_are_pruned_with_what_else_is_known_of_their_run(post: Post, database: Database, dsn: str) -> None:
    lead = post.mailbox(RUN, "lead")
    lead.subscribe("news")
    lead.send("coder", 1)
    post.mailbox("another/run", "lead").send("coder", 1)
    end(dsn, days=100)
    assert prune(database, 90 * 86_400.0, lambda _: False, dry_run=False).runs == 1
    assert [each.envelope.run for each in post.messages()] == ["another/run"]
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM subscriptions").fetchone() == (0,)


def test_what_is_said_about_somebody_is_sealed_and_forgotten_with_them(post: Post, database: Database) -> None:
    vault = Vault(lambda: b"m" * 32)
    subject, key = f"{vault.name_id('jane')}.1", b"k" * 32
    with database.connection() as connection:
        connection.execute("INSERT INTO subjects (id, wrapped_key) VALUES (%s, %s)", (subject, key))
    EventLog(database).append(RUN, [NewEvent(type="run.opened", data={"subject": subject})])
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    with working_about(Seals(subject, key, RUN)):
        id = lead.send("coder", "Jane is ill")
        assert lead.send("coder", "Jane is ill", id=id) == id
        lead.send("tester", "Jane is well")
        [delivery] = coder.receive()
        assert delivery.body == "Jane is ill"
    with database.connection() as connection:
        assert "Jane" not in str(connection.execute("SELECT body::text FROM messages").fetchall())
    coder.acknowledge(delivery)

    forget(database, vault, "jane", by="officer")

    assert post.mailbox(RUN, "tester").receive() == []
    assert {each.status for each in post.messages(run=RUN)} == {"acknowledged", "expired"}
    assert {str(each.envelope.body) for each in post.messages(run=RUN)} == {"{'$forgotten': ''}"}
