"""Work done under a lease: renewed in the background, given up the moment the lease is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar
from weakref import WeakValueDictionary

from muster.errors import MusterError
from muster.events.failures import lost_if_refused
from muster.recovery.leases import TTL, Lease, LeaseLost, Leases

log = logging.getLogger(__name__)

T = TypeVar("T")
RENEWALS = 3
"""How often a lease is renewed within its time to live."""
TRIES = 2
"""How often one that gets no answer is tried within a third of that."""
PAUSE = 1.0
"""Seconds until it is tried again, at most."""

_under: ContextVar[tuple[tuple[Leases, Lease], ...]] = ContextVar("muster_leases", default=())
# By loop, because a lock of asyncio belongs to one. Weak, so that the lock of a name that nobody wants any more goes.
_lines: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, Leases, str], asyncio.Lock] = WeakValueDictionary()


@asynccontextmanager
async def holding(
    leases: Leases, names: Iterable[str], owner: str, *, ttl: float = TTL, wait: float = 0.0
) -> AsyncIterator[Lease]:
    """Hold the names while the body runs.

    The body is cancelled as soon as a renewal finds the lease lost, or no renewal has come through for as long
    as it lasts. A body that came to its end is believed only if the lease was still held when it did.

    Raises:
        LeaseTaken: somebody else held one of the names for all of `wait` seconds; the body did not begin.
        LeaseLost: what the body did may have been done next to the work of somebody else.
        DatabaseLost: the body came to its end, and the database did not say whether the lease was held until then.
    """
    names, asked = sorted(set(names)), time.monotonic()
    async with _in_line(leases, names, wait):
        left = max(0.0, asked + wait - time.monotonic())
        lease = await leases.aacquire(names, owner, ttl=ttl, wait=left)
        async with _kept(leases, lease):
            yield lease


@asynccontextmanager
async def _kept(leases: Leases, lease: Lease) -> AsyncIterator[None]:
    keeper = _Keeper(leases, lease)
    mark = _under.set((*_under.get(), (leases, lease)))
    try:
        async with keeper:
            yield
    except BaseException:
        # The body's own error is the one to raise, and soon: a lease that is not released runs out by itself.
        with suppress(Exception):
            await _within(lease.ttl / RENEWALS, leases.arelease(lease))
        raise
    finally:
        _under.reset(mark)
    try:
        # The release is the check as well. Asked first and released after it, the lease could run out in between.
        # Without an answer for so long it has run out. A refusal says nothing about the body, which has ended.
        with lost_if_refused():
            if not await _within(lease.ttl, leases.arelease(lease)):
                raise lease.lost()
    except TimeoutError as error:
        raise lease.lost() from error


def leases_held() -> tuple[Lease, ...]:
    """The leases that this work is done under, the outermost first."""
    return tuple(lease for _, lease in _under.get())


def check_held() -> None:
    """Do nothing while every lease that this work is done under is held: to be called before an effect.

    Raises:
        LeaseLost: one is not.
    """
    for leases, lease in _under.get():
        if not leases.is_held(lease):
            raise lease.lost()


async def acheck_held() -> None:
    """`check_held` for coroutines."""
    for leases, lease in _under.get():
        if not await leases.ais_held(lease):
            raise lease.lost()


@asynccontextmanager
async def _in_line(leases: Leases, names: list[str], wait: float) -> AsyncIterator[None]:
    # Of all who want a name in this process, one asks the database: a fan-out of a thousand items that share
    # a lock would else ask a thousand times a second. In order of names, so that nobody waits in a circle.
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        try:
            # Also with no time to wait a line that is free is entered: acquiring a free `asyncio.Lock` does not yield
            # to the event loop, so the timeout has no occasion to be raised.
            async with asyncio.timeout(wait):
                for name in names:
                    line = _lines.setdefault((loop, leases, name), asyncio.Lock())
                    await stack.enter_async_context(line)
        except TimeoutError:
            raise await leases.ataken(names) from None
        yield


class _Keeper:
    """Renews a lease while a body runs, and cancels the body when it is lost."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases, self._lease = leases, lease
        self._lost = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._body, self._cancelling = task, task.cancelling()
        self._renewing = asyncio.create_task(self._renew())

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._renewing.cancel()
        if not self._lost:
            return
        # As `asyncio.timeout` does it: our own cancellation becomes our error. A cancellation from outside that came at
        # the same time goes on, or whoever asked for it would see the body go on.
        if self._body.uncancel() <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise self._lease.lost()

    async def _renew(self) -> None:
        # A duration, for which any clock will do: counted from before the request, so never too long.
        renewed, often = time.monotonic(), self._lease.ttl / RENEWALS
        pause = often
        while True:
            await asyncio.sleep(pause)
            asked = time.monotonic()
            try:
                await _within(min(often / TRIES, renewed + self._lease.ttl - asked), self._leases.arenew(self._lease))
                renewed, pause = asked, often
            except LeaseLost:
                break
            except (MusterError, TimeoutError) as error:
                log.warning("the lease on %s could not be renewed: %s", self._lease.names, error)
                if time.monotonic() - renewed >= self._lease.ttl:
                    break
                # On another connection: the one that got no answer is not given back before it has one.
                pause = min(often / TRIES, PAUSE)
        self._lost = True
        self._body.cancel()


async def _within(seconds: float, work: Coroutine[object, object, T]) -> T:
    """`asyncio.timeout`, but for how long the work takes to be cancelled: psycopg asks the server to stop first."""
    task = asyncio.create_task(work)
    # A task that is left behind after the time is awaited by nobody: asyncio would log its error as never retrieved.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        await asyncio.wait([task], timeout=max(0.0, seconds))
        if not task.done():
            raise TimeoutError(f"no answer within {seconds:.1f} s")
        return task.result()
    finally:
        task.cancel()
