"""The post of a site: gives each agent its mailbox, and keeps what nobody could deliver."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from muster.coordination.messages import receiving, statements
from muster.coordination.messages.mailbox import Mailbox
from muster.coordination.messages.model import MessageRefused, Status, StoredMessage, ensure_name
from muster.coordination.messages.office import Office
from muster.coordination.messages.waking import Address
from muster.events import driver
from muster.events.driver import Query, Work


class Post(Office):
    """Mailboxes in one database. Whoever has a mailbox sends as its owner, so agents are given theirs and not this."""

    def mailbox(self, run: str, owner: str) -> Mailbox:
        """The mailbox of an agent in a run; an empty run stands for none.

        Raises:
            MessageRefused: nobody can have that name.
        """
        return Mailbox(self, Address(run, ensure_name(owner, "a mailbox")))

    def messages(
        self, *, run: str | None = None, status: Status | None = None, limit: int = 100
    ) -> list[StoredMessage]:
        """Messages and what became of them, oldest first; of one run or of all, in one status or in any."""
        return driver.run(self.database, receiving.listed(run, status, limit, self.sealer(run or "").open))

    def dead_letters(self, *, run: str | None = None, limit: int = 100) -> list[StoredMessage]:
        """Messages that were rejected for good or handed out too often, oldest first."""
        return self.messages(run=run, status="dead", limit=limit)

    def send_again(self, letter: StoredMessage) -> None:
        """Have a dead letter handed out again, behind what waits in its conversation, with all its attempts.

        Raises:
            MessageRefused: it is no dead letter any more, has expired, or its run has ended.
        """
        run = letter.envelope.run
        rows = driver.run(self.database, _one(statements.SEND_AGAIN, {"run": run, "row": letter.row}))
        if not rows:
            raise MessageRefused(
                f"The message {letter.envelope.id} is no dead letter that can be sent again.",
                remedy="It was sent again already, it has expired, or its run has ended.",
            )
        self.bell.ring([Address(run, rows[0][0])])

    def expire(self) -> int:
        """Mark what has expired, and what was not delivered in runs that have ended; how many there were.

        A mailbox does it, too, before it hands anything out: this is for those that nobody looks at.
        """
        with self.database.connection() as connection:
            return connection.execute(statements.EXPIRE).rowcount

    def close(self) -> None:
        """Ring for what is left, and listen no more."""
        self.bell.close()


def _one(sql: str, values: dict[str, UUID | str]) -> Work[list[tuple[Any, ...]]]:
    return list((yield [Query(sql, values)])[0])
