"""Sends each notice at least once: through its channel when that is configured, else into the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from muster.database import Database
from muster.errors import ErrorClass, MusterError, TransientError
from muster.events.log import EventLog
from muster.events.sealing import Seals, SealsOf, current_seals, is_marker, working_about
from muster.language.channels import CHANNELS
from muster.notifications.model import Channel, Delivery, NotConfigured, Notice
from muster.notifications.outbox import Outbox
from muster.recovery.breakers import BreakerOpen, Policy, breakers_of
from muster.recovery.effects import IdempotentEffect
from muster.recovery.guarding import Guard
from muster.recovery.ledger import Effect, Ledger, repeatable

LONGEST_WAIT = 40.0
"""Seconds a channel gets to deliver one notice."""
GRACE = 20.0
"""Seconds a claim outlives the patience: a slow sender is not overtaken while it still writes its result."""
POLL = 0.25
"""Seconds between looks at a notice that somebody else is sending."""
POLICY = Policy()
"""When a channel that fails is left alone: notices of all automations share it, so none of them can say otherwise."""


class Sender:
    """Routes notices, with a record in the outbox and in the ledger of effects before and after each.

    The guarantee is at least once. A retry of a delivered notice sends nothing; a sender that dies between
    sending and recording leaves its claim to run out, and the next attempt sends again, since neither Slack
    nor a mail server can be asked: Slack then shows the message twice, while a repeated e-mail carries the
    same Message-ID. A key that was used for another place is refused.

    A notice of a run is sent as work about whom the run is about, whoever sends it and from where: what a mail server
    answers repeats whom it was for.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel] | None = None,
        *,
        patience: float = LONGEST_WAIT,
        grace: float = GRACE,
        policy: Policy = POLICY,
        seals: SealsOf | None = None,
    ) -> None:
        """`seals` is of a log with the master key; without it what came of notices about somebody is not kept."""
        self.outbox = Outbox(database)
        """Where every notice is recorded."""
        self._channels = dict(channels or {})
        self._ledger = Ledger(database)
        self._seals_of = seals or EventLog(database).aseals
        self._breakers, self._policy = breakers_of(database), policy
        self._patience, self._grace = patience, grace
        self._lease = timedelta(seconds=patience + grace)

    async def send(self, notice: Notice) -> Delivery:
        """Deliver the notice, unless an attempt with its key already did.

        Raises:
            BreakerOpen: the channel has failed so often that it is left alone; the notice waits in the outbox.
            TransientError: the channel may work later; the notice stays in the outbox as failed.
            PermanentError: the channel refused it for good; likewise.
            ForgottenMeanwhile: whom it is about was forgotten since it was written, and nothing of it is kept.
        """
        seals = await self._seals(notice)
        # In words that the work under way had before, even if it has the key no more.
        written_about = current_seals() or seals
        known = [] if written_about is None else written_about.known
        while (attempt := await self.outbox.claim(notice, self._lease, known)) is None:
            entry = await self.outbox.find(notice.key)
            if entry is not None and entry.delivery is not None:
                return entry.delivery
            await asyncio.sleep(POLL)
        try:
            with working_about(seals):
                delivery = await self._deliver(notice)
        except BreakerOpen as error:
            await self.outbox.wait(notice, attempt, str(error))
            raise
        except Exception as error:
            await self.outbox.fail(notice, attempt, f"{type(error).__name__}: {error}")
            raise
        return await self.outbox.settle(notice, delivery)

    async def _seals(self, notice: Notice) -> Seals | None:
        if notice.run is None:
            return current_seals()
        try:
            return await self._seals_of(notice.run) or current_seals()
        except TransientError:
            raise
        except MusterError:
            # Of an altered log, for example, people must hear. Whom it is about nobody can say: nothing is kept of it.
            return Seals("", None, notice.run)

    async def _deliver(self, notice: Notice) -> Delivery:
        # The text may differ between attempts, with the time that passed; the place may not.
        place = {"channel": notice.channel, "target": notice.target}
        effect = Effect.of(f"notice/{notice.key}", notice.channel, place, notice.run)
        # A second later than `_send` gives up, and its claim ends with the outbox's.
        once = IdempotentEffect(self._ledger, effect, repeatable, patience=self._patience + 1, grace=self._grace - 1)
        try:
            sent = await once.aperform(partial(self._send, notice))
            if is_marker(sent):
                # What carried a notice of which nobody can read any more what came of it.
                carrier = CHANNELS[notice.channel].carrier
                return Delivery(target=notice.target, delivered_by=carrier, reference="")
            return Delivery(target=notice.target, **sent)
        except NotConfigured as reason:
            return Delivery(
                delivered_by="outbox",
                target=notice.target,
                reference="",
                note=f"Kept in the outbox: {reason}",
            )

    async def _send(self, notice: Notice) -> dict[str, object]:
        channel = self._channel(notice.channel)
        async with Guard(self._breakers, f"host:{notice.channel}", self._policy):
            limit = asyncio.timeout(self._patience)
            try:
                async with limit:
                    delivery = await channel.send(notice)
            except TimeoutError as error:
                # A channel has limits of its own, such as one for a connection.
                after = f" within {self._patience:g} s" if limit.expired() else f": {error or 'it gave up waiting'}"
                raise TransientError(
                    f"{notice.channel} did not accept the notice to {notice.target}{after}.",
                    error_class=ErrorClass.TIMEOUT,
                ) from error
        # Who was told is personal, and the outbox has it.
        return delivery.model_dump(mode="json", exclude={"target"})

    def _channel(self, name: str) -> Channel:
        if name not in self._channels:
            raise NotConfigured(f"nobody has set up {name} here.")
        return self._channels[name]
