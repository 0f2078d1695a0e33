"""Work done under a lease: renewed in the background, given up the moment the lease is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from weakref import WeakValueDictionary

from muster.errors import MusterError
from muster.recovery.leases import TTL, Lease, LeaseLost, Leases, LeaseTaken

log = logging.getLogger(__name__)

RENEWALS = 3
"""How often a lease is renewed within its time to live."""

_under: ContextVar[tuple[tuple[Leases, Lease], ...]] = ContextVar("muster_leases", default=())
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
        with suppress(MusterError):
            await leases.arelease(lease)
        raise
    finally:
        _under.reset(mark)
    if not await leases.arelease(lease):
        raise lease.lost()


def leases_held() -> tuple[Lease, ...]:
    """What this work is done under."""
    return tuple(lease for _, lease in _under.get())


def check_held() -> None:
    """Look whether every lease this work is done under is still held: to be asked before an effect.

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
            async with asyncio.timeout(wait):
                for name in names:
                    line = _lines.setdefault((loop, leases, name), asyncio.Lock())
                    await stack.enter_async_context(line)
        except TimeoutError:
            raise LeaseTaken(f"Other work in this process holds or awaits {', '.join(names)}.") from None
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
        # As `asyncio.timeout` does it: our own cancellation becomes our error, anybody else's goes on.
        if self._body.uncancel() <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise self._lease.lost()

    async def _renew(self) -> None:
        # A duration, for which any clock will do: counted from before the request, so never too long.
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._lease.ttl / RENEWALS)
            asked = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, renewed + self._lease.ttl - asked)):
                    await self._leases.arenew(self._lease)
                renewed = asked
            except LeaseLost:
                break
            except (MusterError, TimeoutError) as error:
                log.warning("the lease on %s could not be renewed: %s", self._lease.names, error)
                if time.monotonic() - renewed >= self._lease.ttl:
                    break
        self._lost = True
        self._body.cancel()
