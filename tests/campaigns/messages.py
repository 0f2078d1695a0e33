"""Messages whose senders and receivers are killed: `python tests/campaigns/messages.py [MESSAGES] [SEED] [SECONDS]`.

Senders and receivers are processes of their own, killed (SIGKILL) at random and begun again. Each sender sends its
share under ids that follow from the number of the message, so one that is begun again begins where the database says.
A receiver writes what a message asks for in the transaction that acknowledges it, and before that, in a transaction
apart, that it was handed out. Afterwards everything is counted from outside: each message sent exactly once, delivered
at least once, its effect had once, the effects of each conversation in the order of sending, nothing left, nothing out
twice at a time. Some messages are rejected the first times, some deferred.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.process import BaseProcess
from uuid import UUID, uuid5

import psycopg
from rich.console import Console
from rich.table import Table

from muster.coordination.messages import Delivery, DeliveryLost, Draft, Mailbox, Post, Rules
from muster.database import Database
from muster.errors import TransientError
from muster.migrations import migrate
from muster.rehearsal.stage import own_server

SENDERS, RECEIVERS, MAILBOXES = 4, 4, 6
CONVERSATIONS = 40
"""Of each sender with each mailbox."""
AT_ONCE = 25
RUN = "campaign/run"
NAMES = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
RULES = Rules(visible_after=4.0, limit=1_000, delay=0.05, factor=1.5, longest=1.0)
TABLES = """
CREATE TABLE handed (place bigserial, number integer NOT NULL, attempt integer NOT NULL);
CREATE TABLE effects_had (place bigserial, number integer NOT NULL, conversation text NOT NULL);
"""


def draft(number: int) -> Draft:
    """A message, the same each time it is asked for."""
    chance = random.Random(number)
    sender, mailbox = number % SENDERS, chance.randrange(MAILBOXES)
    return Draft(
        id=uuid5(NAMES, str(number)),
        to=(f"mailbox {mailbox}",),
        body={"number": number},
        correlation=f"{sender}/{mailbox}/{chance.randrange(CONVERSATIONS)}" if chance.random() < 0.8 else None,
        priority=chance.randrange(3),
    )


def sender(dsn: str, sender: int, total: int) -> None:
    """Send one share, from where it stands."""
    database = Database(dsn)
    mailbox = Post(database).mailbox(RUN, f"sender {sender}")
    with database.connection() as connection:
        row = connection.execute(
            "SELECT coalesce(max((body->>'number')::int), %s) FROM messages WHERE sender = %s",
            (sender - SENDERS, mailbox.owner),
        ).fetchone()
    assert row is not None
    # The last one once more: whether its answer came nobody knows.
    numbers = list(range(max(row[0], sender), total, SENDERS))
    chance = random.Random()
    while numbers:
        share = [draft(number) for number in numbers[: chance.randint(1, AT_ONCE)]]
        with suppress(TransientError):
            mailbox.send_all(share)
            del numbers[: len(share)]


def receiver(dsn: str, seed: int) -> None:
    """Do what messages ask for, until killed."""
    post = Post(Database(dsn), rules=RULES)
    chance = random.Random(seed)
    boxes = [post.mailbox(RUN, f"mailbox {number}") for number in range(MAILBOXES)]
    with psycopg.connect(dsn, autocommit=True) as outside:
        while True:
            box = chance.choice(boxes)
            for delivery in box.receive(chance.randint(1, AT_ONCE), wait=0.2):
                with suppress(DeliveryLost, TransientError):
                    handle(post, box, delivery, outside, chance)


def handle(post: Post, box: Mailbox, delivery: Delivery, outside: psycopg.Connection, chance: random.Random) -> None:
    """Have the effect of one, or give it back."""
    number = delivery.body["number"]
    outside.execute("INSERT INTO handed (number, attempt) VALUES (%s, %s)", (number, delivery.attempt))
    if number % 97 == 0 and delivery.attempt < 3:
        box.reject(delivery, "not yet")
    elif number % 89 == 0 and chance.random() < 0.5:
        box.defer(delivery, 0.05)
    else:
        with post.transaction() as connection:
            connection.execute(
                "INSERT INTO effects_had (number, conversation) VALUES (%s, %s)",
                (number, delivery.envelope.correlation + delivery.envelope.recipient),
            )
            box.acknowledge(delivery, within=connection)


def campaign(dsn: str, total: int, seed: int, seconds: float) -> Counter[str]:
    """Have all of them sent and done, while processes are killed about every `seconds`; how often that happened."""
    chance, kills = random.Random(seed), Counter[str]()
    spawn = multiprocessing.get_context("forkserver")
    # Imported once: a process that is killed as it imports has done nothing that could be lost.
    spawn.set_forkserver_preload(["muster.coordination.messages.post", "muster.rehearsal.stage", "rich.table"])
    alive: dict[tuple[str, int], BaseProcess] = {}

    def begin(what: str, number: int) -> None:
        work, more = (sender, total) if what == "sender" else (receiver, chance.randrange(2**31))
        alive[what, number] = process = spawn.Process(
            target=work, args=(dsn, number, more) if what == "sender" else (dsn, more), daemon=True
        )
        process.start()

    for number in range(SENDERS):
        begin("sender", number)
    for number in range(RECEIVERS):
        begin("receiver", number)
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not finished(connection, total):
                time.sleep(seconds * chance.uniform(0.5, 1.5))
                who = chance.choice(sorted(who for who, process in alive.items() if process.is_alive()))
                alive[who].kill()
                alive[who].join()
                kills[f"{who[0]}s killed"] += 1
                for (what, number), each in list(alive.items()):
                    if not each.is_alive() and not (what == "sender" and each.exitcode == 0):
                        each.join()
                        begin(what, number)
    finally:
        for process in alive.values():
            process.kill()
            process.join()
    return kills


def finished(connection: psycopg.Connection, total: int) -> bool:
    """True when all were sent and none waits."""
    row = connection.execute("SELECT count(*), count(*) FILTER (WHERE status = 'waiting') FROM messages").fetchone()
    return row == (total, 0)


def judge(dsn: str, total: int) -> dict[str, tuple[int, int]]:
    """What is counted from outside, and what it has to be."""
    with psycopg.connect(dsn) as connection:

        def one(query: str) -> int:
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0])

        return {
            "stored": (one("SELECT count(*) FROM messages"), total),
            "different ones stored": (one("SELECT count(DISTINCT body->>'number') FROM messages"), total),
            "delivered at least once": (one("SELECT count(DISTINCT number) FROM handed"), total),
            "acknowledged": (one("SELECT count(*) FROM messages WHERE status = 'acknowledged'"), total),
            "effects had": (one("SELECT count(*) FROM effects_had"), total),
            "different effects": (one("SELECT count(DISTINCT number) FROM effects_had"), total),
            "effects before an earlier one of their conversation": (
                one(
                    "SELECT count(*) FROM (SELECT number < lag(number) OVER (PARTITION BY conversation ORDER BY place)"
                    " AS wrong FROM effects_had) AS e WHERE wrong"
                ),
                0,
            ),
            "left or dead": (one("SELECT count(*) FROM messages WHERE status IN ('waiting', 'dead', 'expired')"), 0),
        }


def main() -> None:
    """Do it all, print the table, and fail when a number is not what it has to be."""
    total, seed, seconds = (float(text) for text in [*sys.argv[1:], *("100000", "1", "0.7")[len(sys.argv) - 1 :]])
    began = time.monotonic()
    with own_server() as (dsn, _):
        migrate(dsn)
        with psycopg.connect(dsn) as connection:
            connection.execute(TABLES)
        kills = campaign(dsn, int(total), int(seed), seconds)
        counted = judge(dsn, int(total))
        with psycopg.connect(dsn) as connection:
            row = connection.execute("SELECT count(*) FROM handed").fetchone()
    assert row is not None
    table = Table("counted from outside", "number", "wanted")
    for what, (number, wanted) in counted.items():
        table.add_row(what, f"{number}", f"{wanted}")
    table.add_row("handed out in all", f"{row[0]}", "")
    for what, number in sorted(kills.items()):
        table.add_row(what, f"{number}", "")
    table.add_row("seconds", f"{time.monotonic() - began:.0f}", "")
    Console(width=100).print(table)
    if any(number != wanted for number, wanted in counted.values()):
        sys.exit("A promise of messages does not hold.")
    print(f"{int(total)} messages: each delivered at least once, done once, in order; seed {int(seed)}")


if __name__ == "__main__":
    main()
