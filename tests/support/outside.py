"""Work with effects outside of its process, as another process does it: each takes what it works on, and a name."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

from muster.database import Database
from muster.notifications import Delivery, Notice, Sender
from muster.recovery import NEVER_HAPPENED, Happened, OutcomeUnknown
from muster.recovery.effects import IdempotentEffect
from muster.recovery.ledger import Effect, EffectResult, FindOut, Ledger, cannot_tell
from muster.skills.finance import propose_payment, reverse_posting, withdraw_payment
from support.bank import charge, charged
from support.ledger import context, invoice, post


def once(dsn: str, name: str, find_out: FindOut) -> IdempotentEffect:
    return IdempotentEffect(Ledger(Database(dsn)), Effect.of(name, "charge", {"of": name}), find_out)


def charge_once(dsn: str, url: str, name: str) -> None:
    """From a task process."""

    def find_out() -> Happened | EffectResult:
        times = charged(url, name)
        return Happened(times) if times else NEVER_HAPPENED

    assert once(dsn, name, find_out).perform(lambda: charge(url, name)) == 1


def charge_once_in_triggerer(dsn: str, url: str, name: str) -> None:
    """From a coroutine."""

    async def find_out() -> Happened | EffectResult:
        times = await asyncio.to_thread(charged, url, name)
        return Happened(times) if times else NEVER_HAPPENED

    async def charging() -> int:
        return await asyncio.to_thread(charge, url, name)

    assert asyncio.run(once(dsn, name, find_out).aperform(charging)) == 1


SHORT = {"patience": 3.0, "grace": 1.5}
"""How long a claim lasts that runs out while a test waits, unless it is renewed."""


def charge_slowly(dsn: str, url: str, name: str) -> None:
    """At a service that takes longer to answer than a claim lasts."""
    effect = IdempotentEffect(Ledger(Database(dsn)), Effect.of(name, "charge", {"of": name}), **SHORT)
    assert effect.perform(lambda: charge(url, name)) == 1


def charge_slowly_holding_the_loop(dsn: str, url: str, name: str) -> None:
    """The same from a coroutine that blocks its event loop."""

    async def charging() -> int:
        return charge(url, name)

    effect = IdempotentEffect(Ledger(Database(dsn)), Effect.of(name, "charge", {"of": name}), **SHORT)
    assert asyncio.run(effect.aperform(charging)) == 1


def charge_unasked(dsn: str, url: str, name: str) -> None:
    """At a service that cannot say what it has charged."""
    try:
        once(dsn, name, cannot_tell).perform(lambda: charge(url, name))
    except OutcomeUnknown:
        return


class Hook:
    """A channel that posts where it is told to."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, notice: Notice) -> Delivery:
        """Post it; Slack's answer says nothing by which it could be asked for later."""
        await asyncio.to_thread(self._post, notice.text)
        return Delivery(delivered_by="slack", target=notice.target, reference="")

    def _post(self, text: str) -> None:
        body = json.dumps({"text": text}).encode()
        with urlopen(Request(self._url, body, method="POST"), timeout=10) as answer:
            assert answer.read() == b"ok"


def notify(dsn: str, url: str, name: str) -> None:
    """A notice to Slack."""
    notice = Notice(channel="slack", target="#ops", text=name, key=name)
    asyncio.run(Sender(Database(dsn), {"slack": Hook(url)}).send(notice))


def post_one(dsn: str, folder: Path, name: str) -> None:
    """One invoice, in a run of the name."""
    post(context(Database(dsn), folder, run=f"invoices/{name}"), invoice(number=name))


def reverse_one(dsn: str, folder: Path, name: str) -> None:
    """What the run of the name has posted."""
    own = context(Database(dsn), folder, run=f"invoices/{name}")
    reverse_posting(replace(own, key=f"{own.key}/undo", undoes=own.key))


def post_and_reverse(dsn: str, folder: Path, name: str) -> None:
    """Work and its compensation."""
    post_one(dsn, folder, name)
    reverse_one(dsn, folder, name)


def pay_one(dsn: str, folder: Path, name: str) -> None:
    """The invoice of the name, in a run of its own."""
    database = Database(dsn)
    posting = post(context(database, folder, run=f"invoices/{name}"), invoice(number=name))
    propose_payment([posting], context(database, folder, run=f"invoices/{name}", step="pay", index=None))


def withdraw_one(dsn: str, folder: Path, name: str) -> None:
    """What the run of the name has proposed."""
    own = context(Database(dsn), folder, run=f"invoices/{name}", step="pay", index=None)
    withdraw_payment(replace(own, key="pay/undo", undoes="pay"))


def pay_and_withdraw(dsn: str, folder: Path, name: str) -> None:
    """Work and its compensation."""
    pay_one(dsn, folder, name)
    withdraw_one(dsn, folder, name)
