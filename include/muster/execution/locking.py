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
from muster.recovery.holding import holding
from muster.recovery.leases import LeaseLost, LeaseTaken

T = TypeVar("T")
WAIT = 3600.0
"""Seconds an attempt waits for its locks before it fails as one that may pass."""
LOSSES = 3
"""How often lost leases are no reason to use up a retry of the step: what was lost was not the step's fault."""


def under_lock(
    services: Services,
    work_item: WorkItem,
    work: Callable[[], Awaitable[T]],
    record: Recorder,
    ensure_due: Callable[[], Awaitable[None]],
) -> Callable[[], Awaitable[T]]:
    """`work`, done while the step's locks are held for the work item; `record` is told of each attempt given up.

    Its answer counts only when the leases were held to its end. The time spent waiting is not the step's `timeout`.
    Another execution of the same step's work that holds them is waited for while it is alive, and the work is due.
    """
    if not work_item.step.lock:
        return work

    async def locked() -> T:
        locks = lock_names(work_item.step.lock, work_item.variables, where=f"step {work_item.step.id}, lock")
        # In work about somebody only what the YAML says in these words names nobody.
        names = lease_names(locks, locks if current_seals() is None else work_item.step.lock)
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
                # Nobody, where it was let go as that was asked. What undoes the work waits no longer for it than for
                # anybody else: a person has to know.
                if work_item.undoes or taken.owner not in (owner, None):
                    raise
            # The holder was another execution of this very work, and may have ended it: then nothing is left to do
            # here.
            await ensure_due()

    return locked


def lock_names(lock: Sequence[str], variables: Mapping[str, object], *, where: str) -> list[str]:
    """The names that a `lock` gives for one work item; an expression may give a list of them.

    Raises:
        PermanentError: an expression gives nothing to name a lock by.
    """
    values = _flat(evaluate(list(lock), variables, where=where))
    return [_name(value, where) for value in values]


def lease_names(names: Sequence[str], known: Collection[str]) -> list[str]:
    """The leases to take for locks of these names: one by the hash of each, and one by the name where that is known.

    A lease's row stays for good, so a name that may say whom the work is about is stored as its hash only. The hash is
    taken in every automation: one that is about nobody may exclude another that is about somebody.
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
