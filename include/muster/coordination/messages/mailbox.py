"""The mailbox of one agent in one run: what it sends is from it, and what is sent to it is received here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID, uuid5

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from muster.coordination.messages import receiving, statements
from muster.coordination.messages.model import Delivery, Draft, NoReply, ensure_name, new_id
from muster.coordination.messages.office import Office
from muster.coordination.messages.sending import prepare, store
from muster.coordination.messages.waking import Address, Waiter
from muster.events.driver import Query, Work, arun, arun_within, one_transaction, run, run_within
from muster.events.log import EventLog
from muster.events.model import Event, NewEvent

T = TypeVar("T")
Drafts = Callable[[list[Event]], Sequence[Draft]]
"""Makes messages of the events that cause them."""


class Mailbox:
    """Sends as its owner and receives what is for it. Every method has a twin for coroutines that starts with `a`.

    `within` is a connection in a transaction of the caller's: what is done is committed with it or not at all. Take one
    of `Post.transaction`, which rings when it is committed; of another one those who wait learn some seconds later.
    """

    def __init__(self, office: Office, address: Address) -> None:
        """Made by `Post.mailbox`, which says whose it is."""
        self._office, self.address = office, address

    @property
    def owner(self) -> str:
        """Who sends with it."""
        return self.address.mailbox

    def send(
        self, to: str | Sequence[str], body: Any, *, within: Connection[TupleRow] | None = None, **more: Any
    ) -> UUID:
        """Send a message, durable on return; `more` are fields of `Draft`. Returns its id.

        Raises:
            MessageRefused: it does not fit its schema, is for nobody, or the run has ended.
            TransientError: the database was lost; under the same id, sending again is safe.
        """
        return self.send_all([_draft(to, body, more)], within=within)[0]

    async def asend(
        self, to: str | Sequence[str], body: Any, *, within: AsyncConnection[TupleRow] | None = None, **more: Any
    ) -> UUID:
        """`send` for coroutines."""
        return (await self.asend_all([_draft(to, body, more)], within=within))[0]

    def send_all(self, drafts: Sequence[Draft], *, within: Connection[TupleRow] | None = None) -> list[UUID]:
        """Send several messages in one transaction, all or none; a draft without `to` goes to its topic."""
        if drafts:
            self._rung(self._do(self._sending(drafts), within), within)
        return [draft.id for draft in drafts]

    async def asend_all(
        self, drafts: Sequence[Draft], *, within: AsyncConnection[TupleRow] | None = None
    ) -> list[UUID]:
        """`send_all` for coroutines."""
        if drafts:
            self._rung(await self._ado(self._sending(drafts), within), within)
        return [draft.id for draft in drafts]

    def send_with(
        self, log: EventLog, events: Sequence[NewEvent], drafts: Drafts, *, expected: int | None = None
    ) -> list[Event]:
        """Append events to the run's stream and send the messages that they cause: both in one transaction.

        A message without a causation is caused by the first of the events, and without an id has one that follows from
        it: an append that is repeated under its key sends nothing twice.
        """
        written, rung = run(log.database, self._sending_with(log, events, drafts, expected))
        self._rung(rung, None)
        return written

    async def asend_with(
        self, log: EventLog, events: Sequence[NewEvent], drafts: Drafts, *, expected: int | None = None
    ) -> list[Event]:
        """`send_with` for coroutines."""
        written, rung = await arun(log.database, self._sending_with(log, events, drafts, expected))
        self._rung(rung, None)
        return written

    def broadcast(self, topic: str, body: Any, *, within: Connection[TupleRow] | None = None, **more: Any) -> UUID:
        """Send a message to all that subscribe to the topic now, except for oneself."""
        return self.send((), body, within=within, topic=topic, **more)

    async def abroadcast(
        self, topic: str, body: Any, *, within: AsyncConnection[TupleRow] | None = None, **more: Any
    ) -> UUID:
        """`broadcast` for coroutines."""
        return await self.asend((), body, within=within, topic=topic, **more)

    def subscribe(self, topic: str) -> None:
        """Receive what is broadcast to a topic of the run from now on."""
        self._do(self._subscription(statements.SUBSCRIBE, topic))

    async def asubscribe(self, topic: str) -> None:
        """`subscribe` for coroutines."""
        await self._ado(self._subscription(statements.SUBSCRIBE, topic))

    def unsubscribe(self, topic: str) -> None:
        """Receive no more of it; what has come already stays."""
        self._do(self._subscription(statements.UNSUBSCRIBE, topic))

    async def aunsubscribe(self, topic: str) -> None:
        """`unsubscribe` for coroutines."""
        await self._ado(self._subscription(statements.UNSUBSCRIBE, topic))

    def receive(self, most: int = 1, *, wait: float = 0.0) -> list[Delivery]:
        """At most so many messages; none when nothing comes within `wait` seconds. Settle each of them.

        The first come first, those with a larger priority before; a later message of a conversation only once the
        earlier one is settled for good.
        """
        until = time.monotonic() + wait
        while True:
            waiter = Waiter()
            with self._office.bell.waiting(self.address, waiter):
                found, left = self._do(self._taking(most)), until - time.monotonic()
                if not found and left > 0:
                    waiter.wait(left)
                    continue
            return self._received(found)

    async def areceive(self, most: int = 1, *, wait: float = 0.0) -> list[Delivery]:
        """`receive` for coroutines; a thousand of them that wait hold one connection."""
        until = time.monotonic() + wait
        while True:
            waiter = Waiter(asyncio.get_running_loop())
            with self._office.bell.waiting(self.address, waiter):
                found, left = await self._ado(self._taking(most)), until - time.monotonic()
                if not found and left > 0:
                    await waiter.await_(left)
                    continue
            return self._received(found)

    def acknowledge(self, delivery: Delivery, *, within: Connection[TupleRow] | None = None) -> None:
        """Settle a message: it is never handed out again. With `within`, exactly if that transaction is committed.

        Raises:
            DeliveryLost: it was handed out again since, or settled: roll back what was done about it.
        """
        self._rung(self._do(receiving.acknowledge(delivery), within), within)

    async def aacknowledge(self, delivery: Delivery, *, within: AsyncConnection[TupleRow] | None = None) -> None:
        """`acknowledge` for coroutines."""
        self._rung(await self._ado(receiving.acknowledge(delivery), within), within)

    def reject(self, delivery: Delivery, why: str, *, final: bool = False) -> bool:
        """Have a message handed out again after a while; after the limit, or with `final`, it is a dead letter: True.

        Raises:
            DeliveryLost: it was handed out again since, or settled.
        """
        is_dead, freed = self._do(receiving.reject(delivery, why, self._office.rules, final=final))
        self._rung(freed, None)
        return is_dead

    async def areject(self, delivery: Delivery, why: str, *, final: bool = False) -> bool:
        """`reject` for coroutines."""
        is_dead, freed = await self._ado(receiving.reject(delivery, why, self._office.rules, final=final))
        self._rung(freed, None)
        return is_dead

    def defer(self, delivery: Delivery, seconds: float) -> None:
        """Have a message handed out again after so many seconds; what came later in its conversation waits, too.

        Raises:
            DeliveryLost: it was handed out again since, or settled.
        """
        self._do(receiving.defer(delivery, seconds))

    async def adefer(self, delivery: Delivery, seconds: float) -> None:
        """`defer` for coroutines."""
        await self._ado(receiving.defer(delivery, seconds))

    def reply(self, delivery: Delivery, body: Any, **more: Any) -> UUID:
        """Answer a message and acknowledge it, both or neither.

        Raises:
            MessageRefused: what it answers has expired.
            DeliveryLost: it was handed out again since, or settled.
        """
        draft = _answer(delivery, body, more)
        self._rung(self._do(one_transaction(self._replying(delivery, draft))), None)
        return draft.id

    async def areply(self, delivery: Delivery, body: Any, **more: Any) -> UUID:
        """`reply` for coroutines."""
        draft = _answer(delivery, body, more)
        self._rung(await self._ado(one_transaction(self._replying(delivery, draft))), None)
        return draft.id

    def request(self, to: str, body: Any, *, within_seconds: float, **more: Any) -> Delivery:
        """Send a message and wait for its reply, which has to be settled. After that time a reply is refused.

        Raises:
            NoReply: none came in time. Asked again under the same `id`, nothing is sent twice.
        """
        draft, mine = self._question(to, body, within_seconds, more)
        self.send_all([draft])
        return _first(mine.receive(wait=within_seconds), to, within_seconds)

    async def arequest(self, to: str, body: Any, *, within_seconds: float, **more: Any) -> Delivery:
        """`request` for coroutines."""
        draft, mine = self._question(to, body, within_seconds, more)
        await self.asend_all([draft])
        return _first(await mine.areceive(wait=within_seconds), to, within_seconds)

    def _question(self, to: str, body: Any, seconds: float, more: dict[str, Any]) -> tuple[Draft, Mailbox]:
        # A mailbox of its own: whoever else receives for this agent would be handed the reply.
        id = more.pop("id", None) or new_id()
        mine = Mailbox(self._office, Address(self.address.run, f"{self.owner}/{id}"))
        return _draft(to, body, {"reply_to": mine.owner, "expires_in": seconds, "id": id, **more}), mine

    def _sending(self, drafts: Sequence[Draft]) -> Work[set[Address]]:
        sealer = self._office.sealer(self.address.run)
        return store([prepare(self.address, draft, self._office.schemas, sealer) for draft in drafts], sealer.open)

    def _sending_with(
        self, log: EventLog, events: Sequence[NewEvent], drafts: Drafts, expected: int | None
    ) -> Work[tuple[list[Event], set[Address]]]:
        def both() -> Work[tuple[list[Event], set[Address]]]:
            written = yield from log.appending(self.address.run, events, expected)
            caused = [_caused(draft, number, written) for number, draft in enumerate(drafts(written))]
            return written, (yield from self._sending(caused)) if caused else set()

        return one_transaction(both())

    def _replying(self, delivery: Delivery, draft: Draft) -> Work[set[Address]]:
        sealer = self._office.sealer(self.address.run)
        answers = delivery.envelope.id
        message = prepare(self.address, draft, self._office.schemas, sealer, answers=answers)
        rung = yield from store([message], sealer.open)
        return rung | (yield from receiving.acknowledge(delivery))

    def _taking(self, most: int) -> Work[list[Delivery]]:
        return receiving.take(self.address, most, self._office.rules, self._office.sealer(self.address.run).open)

    def _received(self, found: list[Delivery]) -> list[Delivery]:
        if found:
            self._office.bell.pass_on(self.address)
        return found

    def _subscription(self, sql: str, topic: str) -> Work[None]:
        ensure_name(topic, "a topic")
        yield [Query(sql, {"run": self.address.run, "topic": topic, "mailbox": self.owner})]

    def _do(self, work: Work[T], within: Connection[TupleRow] | None = None) -> T:
        return run(self._office.database, work) if within is None else run_within(within, work)

    async def _ado(self, work: Work[T], within: AsyncConnection[TupleRow] | None = None) -> T:
        return await (arun(self._office.database, work) if within is None else arun_within(within, work))

    def _rung(self, addresses: set[Address], within: object | None) -> None:
        self._office.ring(addresses, within)


def _draft(to: str | Sequence[str], body: Any, more: dict[str, Any]) -> Draft:
    return Draft(to=(to,) if isinstance(to, str) else tuple(to), body=body, **more)


def _answer(delivery: Delivery, body: Any, more: dict[str, Any]) -> Draft:
    asked = delivery.envelope
    # The id follows from what it answers: a reply that is repeated because its answer was lost is stored once.
    values = {"id": uuid5(delivery.row, "reply"), "correlation": asked.correlation, "causation": asked.id, **more}
    return _draft(asked.reply_to or asked.sender, body, values)


def _caused(draft: Draft, number: int, events: Sequence[Event]) -> Draft:
    if "id" not in draft.model_fields_set:
        draft = draft.model_copy(update={"id": uuid5(events[0].id, str(number))})
    return draft if draft.causation else draft.model_copy(update={"causation": events[0].id})


def _first(found: list[Delivery], to: str, seconds: float) -> Delivery:
    if not found:
        raise NoReply(f"{to} did not reply within {seconds:g} s.", remedy="Ask again under the same id, or another.")
    return found[0]
