"""A run's budget: checked before each call, shared by all the calls of the run in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal

from muster.errors import BudgetExceeded

ZERO = Decimal(0)
Spent = Callable[[], Awaitable[tuple[Decimal, int]]]
"""Asks the log what the run has spent so far, and up to which version of its stream."""


class Budget:
    """What a run may spend, what it has spent, and what calls under way may still cost.

    A call reserves its estimate before it is made and settles what it really cost. So calls made at
    the same time cannot each find the last dollar free: one that only fits if another turns out
    cheap waits for it. Calls of other processes count from the moment they are in the log.
    """

    def __init__(self, limit: Decimal, spent: Spent, *, refresh: float = 1.0) -> None:
        self.limit = limit
        self._ask_log = spent
        self._refresh = refresh
        """Seconds after which the log is asked again for what other processes spend."""
        self._logged = ZERO
        self._reserved = ZERO
        self._version = 0
        """Up to here the log's own sum holds; what is settled later is added to it."""
        self._settled: list[tuple[int, Decimal]] = []
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        self._changed = asyncio.Event()

    async def reserve(self, estimate: Decimal) -> None:
        """Set `estimate` US dollars aside for a call about to be made.

        Raises:
            BudgetExceeded: what is spent and `estimate` together reach the limit.
        """
        while True:
            # Taken before the sums are looked at. A call that settled between the look and the taking would set the
            # event before this one, and the wait might never end.
            changed = self._changed
            await self._ask()
            if self._spent + estimate >= self.limit:
                raise self._exceeded(estimate)
            if self._spent + self._reserved + estimate < self.limit:
                self._reserved += estimate
                return
            await changed.wait()

    def settle(self, estimate: Decimal, cost: Decimal = ZERO, version: int | None = None) -> None:
        """Replace the reservation by what the call cost, written to the log as `version`.

        Without a version nothing was bought, because the call failed. The method awaits nothing, so that a call that is
        cancelled cannot leave its reservation behind.
        """
        self._reserved -= estimate
        if version is not None:
            self._settled.append((version, cost))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @property
    def _spent(self) -> Decimal:
        # A call writes its cost to the log and settles it after that. If the log was asked in between, its sum holds
        # the cost already, so only what was settled with a later version is added.
        return self._logged + sum((cost for version, cost in self._settled if version > self._version), ZERO)

    async def _ask(self) -> None:
        # The lock is held while the log answers: of many calls that begin together one asks, and the others use its
        # answer.
        async with self._asking:
            if self._asked_at is None or time.monotonic() - self._asked_at >= self._refresh:
                self._asked_at = time.monotonic()
                self._logged, self._version = await self._ask_log()
                self._settled = [entry for entry in self._settled if entry[0] > self._version]

    def _exceeded(self, estimate: Decimal) -> BudgetExceeded:
        return BudgetExceeded(
            f"The next call may cost {_usd(estimate)} and {_usd(self._spent)} of the run's budget"
            f" of {_usd(self.limit)} is spent, so it was not made.",
            remedy="Raise `budget.usd` of the automation, or name a cheaper tier for the agent.",
        )


def _usd(amount: Decimal) -> str:
    return f"${amount.quantize(Decimal('0.000001')).normalize():f}"
