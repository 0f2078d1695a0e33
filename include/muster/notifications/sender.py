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
"""Seconds that a claim lasts beyond the wait, so that a slow sender is not overtaken while it records its result."""
POLL = 0.25
"""Seconds between looks at a notice that somebody else is sending."""
POLICY = Policy()
"""When a failing channel is left alone. Notices of all automations share the channel, so no automation sets this."""


class Sender:
    """Routes notices, with a record in the outbox and in the ledger of effects before and after each.

    The guarantee is at least once. A retry of a delivered notice sends nothing; a sender that dies between
    sending and recording leaves its claim to run out, and the next attempt sends again, since neither Slack
    nor a mail server can be asked: Slack then shows the message twice, while a repeated e-mail carries the
    same Message-ID. A key that was used for another place is refused.

    Errors and results of a notice are sealed for the person whom its run is about, whoever sends it, because a mail
    server's answer repeats the address.
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
            ForgottenMeanwhile: the person it is about was forgotten since it was written; nothing of it is kept.
        """
        seals = await self._seals(notice)
        # The words were made by the work under way, with the keys that it had then. A key that was thrown away since
        # has to refuse the claim, so those seals are asked first.
        written_about = current_seals() or seals
        known = [] if written_about is None else written_about.known
        while (attempt := await self.outbox.claim(notice, self._lease, known)) is None:
            # Another process is sending this notice, or has delivered it. Wait for its result: if it died, its claim
            # runs out, and this process gets the next one.
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
            # The log cannot be read; it was altered, for example. People must be told of that. Nobody can say whom the
            # run is about, so nothing of the result is kept.
            return Seals("", None, notice.run)

    async def _deliver(self, notice: Notice) -> Delivery:
        # The effect is compared by its place. The text may differ between attempts, because it may say how much time
        # has passed; another place under the same key is refused.
        place = {"channel": notice.channel, "target": notice.target}
        effect = Effect.of(f"notice/{notice.key}", notice.channel, place, notice.run)
        # One second more than `_send` waits, so that its own timeout says what happened. The claim of the effect ends
        # with the claim in the outbox: the next sender finds both free.
        once = IdempotentEffect(self._ledger, effect, repeatable, patience=self._patience + 1, grace=self._grace - 1)
        try:
            sent = await once.aperform(partial(self._send, notice))
            if is_marker(sent):
                # The notice was sent, and its result was forgotten with the person it is about.
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
                # A channel may time out by itself, on connecting for example: then it did not have all the time.
                after = f" within {self._patience:g} s" if limit.expired() else f": {error or 'it gave up waiting'}"
                raise TransientError(
                    f"{notice.channel} did not accept the notice to {notice.target}{after}.",
                    error_class=ErrorClass.TIMEOUT,
                ) from error
        # The address is personal: the outbox has it, and the ledger does not need it.
        return delivery.model_dump(mode="json", exclude={"target"})

    def _channel(self, name: str) -> Channel:
        if name not in self._channels:
            raise NotConfigured(f"nobody has set up {name} here.")
        return self._channels[name]
