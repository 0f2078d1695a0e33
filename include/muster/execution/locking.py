"""A step's `lock`: its work is done under leases, and done again when one was lost meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

from muster.errors import PermanentError
from muster.events.sealing import current_seals
from muster.execution.retrying import Recorder
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.language.expressions import evaluate
from muster.language.forgotten import nothing_passed_on
from muster.recovery.holding import holding
from muster.recovery.leases import LeaseLost, LeaseTaken

T = TypeVar("T")
WAIT = 3600.0
"""Seconds an attempt waits for its locks before it fails with a transient error."""
LOSSES = 3
"""How many lost leases cost the step none of its retries: a lost lease is not the step's fault."""


def under_lock(
    services: Services,
    work_item: WorkItem,
    work: Callable[[], Awaitable[T]],
    record: Recorder,
    ensure_due: Callable[[], Awaitable[None]],
) -> Callable[[], Awaitable[T]]:
    """Wrap `work` so that it runs while the step's locks are held; without locks `work` itself.

    The result counts only if the leases were held to the end. The wait for the locks does not count against the step's
    `timeout`. If another execution of the same work holds the locks, the wait goes on while that one lives and
    `ensure_due` finds the work still to be done. `record` is called for each attempt that lost a lease.
    """
    if not work_item.step.lock:
        return work

    async def locked() -> T:
        locks = lock_names(work_item.step.lock, work_item.variables, where=f"step {work_item.step.id}, lock")
        # A lease's row is never deleted. In a run about somebody an expression may put a person's name into a lock, so
        # only names that stand literally in the YAML are stored in the clear.
        names = lease_names(locks, locks if current_seals() is None else work_item.step.lock)
        # Work that outlives its leases each time would be repeated for ever: the last loss goes to the step's retries.
        for loss in range(1, LOSSES + 1):
            try:
                return await held(names)
            except LeaseLost as error:
                await record(loss, error, 0.0)
        return await held(names)

    async def held(names: Sequence[str]) -> T:
        owner = f"{work_item.view.id}/{work_item.key}"
        while True:
            try:
                async with holding(services.leases, names, owner, wait=WAIT):
                    return await work()
            except LeaseTaken as taken:
                # Owner None: the lease was released between the refusal and the question who holds it. A compensation
                # gives up after the same wait as for any other holder: the run is stuck, and a person has to know.
                if work_item.undoes or taken.owner not in (owner, None):
                    raise
            # The holder was another execution of this work. It may have ended the work while this one waited, and
            # waiting on would do the work a second time.
            await ensure_due()

    return locked


def lock_names(lock: Sequence[str], variables: Mapping[str, object], *, where: str) -> list[str]:
    """Evaluate a `lock` to the names of its locks; one expression may give a list of names.

    Raises:
        PermanentError: an expression gives something that cannot name a lock, such as null or a mapping; or it needs
            what was forgotten.
    """
    # A text with a marker in it is the name of another lock: the work would be done beside whoever holds the real one.
    with nothing_passed_on():
        values = _flat(evaluate(list(lock), variables, where=where))
    return [_name(value, where) for value in values]


def lease_names(names: Sequence[str], known: Collection[str]) -> list[str]:
    """The names of the leases for these locks: the hash of each name, and the name itself if it is in `known`.

    A lease's row is never deleted, so a name that may say whom the work is about is stored as its hash only. Every
    automation takes the hash, because an automation about nobody may share a lock with one about somebody.
    """
    hashes = [f"sha256:{sha256(name.encode()).hexdigest()}" for name in names]
    return [*hashes, *(name for name in names if name in known)]


def _flat(values: Sequence[object]) -> Iterator[object]:
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _name(value: object, where: str) -> str:
    if value is None or value == "" or isinstance(value, dict | list | bool):
        raise PermanentError(f"{where}: {value!r} does not name a lock.", remedy="Give each lock a text or a number.")
    return str(value)
