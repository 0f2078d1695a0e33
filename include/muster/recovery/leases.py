"""Named leases with expiry and fencing tokens: who may touch a thing of which there is only one.

A lease is held until it is released or runs out; the clock is the database's. Its *fencing token* grows with
every holder of a name, so that a late write of a former holder can be told from one of its successor.
Several names are taken together or not at all, so nobody ever holds one while waiting for another, and
every statement locks rows in the order of their names: leases cannot deadlock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.events.driver import Query, Work, arun, run

TTL = 30.0
"""Seconds a lease lasts unless it is renewed."""
FIRST_PAUSE = 0.02
"""Seconds before the second look at a lease that somebody else holds."""
LONGEST_PAUSE = 0.5

# `clock_timestamp()` is read once the row is locked; `now()` would be the time the statement began to wait.
# One statement looks and takes: of two that find a lease free, the second waits for the lock on its row and then checks
# the condition again, against what the first has written.
ACQUIRE = """
INSERT INTO leases AS held (name, token, owner, acquired_at, expires_at)
SELECT name, 1, %(owner)s::text, clock_timestamp(), clock_timestamp() + make_interval(secs => %(ttl)s::float8)
  FROM unnest(%(names)s::text[]) AS name ORDER BY name COLLATE "C"
ON CONFLICT (name) DO UPDATE SET
    token = held.token + 1, owner = EXCLUDED.owner, acquired_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => %(ttl)s::float8)
WHERE held.expires_at IS NULL OR held.expires_at <= clock_timestamp()
RETURNING name, token
"""

_MINE = """
SELECT held.name FROM leases held
  JOIN unnest(%(names)s::text[], %(tokens)s::bigint[]) AS mine (name, token)
    ON mine.name = held.name AND mine.token = held.token
 WHERE held.expires_at > clock_timestamp()
"""

# The time is compared once more on the locked row: the lease may have run out while the statement waited for it.
RENEW = f"""
WITH mine AS ({_MINE} ORDER BY held.name COLLATE "C" FOR UPDATE OF held)
UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => %(ttl)s::float8)
  FROM mine WHERE leases.name = mine.name AND leases.expires_at > clock_timestamp()
RETURNING leases.name
"""

# A release that is lost with the database's memory only means that the lease has to run out: no need to wait.
RELEASE = f"""
WITH mine AS ({_MINE} ORDER BY held.name COLLATE "C" FOR UPDATE OF held)
UPDATE leases SET owner = NULL, expires_at = NULL
  FROM mine WHERE leases.name = mine.name AND set_config('synchronous_commit', 'off', true) = 'off'
RETURNING leases.name
"""

IS_HELD = f"SELECT count(*) FROM ({_MINE}) AS mine"

# A person looked at the list a moment ago. The token and the time are compared, because somebody may have taken the
# name over since: their lease must stay.
LET_GO = """
UPDATE leases SET owner = NULL, expires_at = NULL
 WHERE name = %(name)s AND token = %(token)s AND expires_at <= clock_timestamp() RETURNING name
"""

HOLDER = """
SELECT name, owner, extract(epoch FROM expires_at - clock_timestamp())::float8 FROM leases
 WHERE name = ANY(%(names)s::text[]) AND expires_at > clock_timestamp() ORDER BY expires_at DESC LIMIT 1
"""

LIST = """
SELECT name, token, owner, extract(epoch FROM expires_at - clock_timestamp())::float8 FROM leases
 WHERE owner IS NOT NULL ORDER BY name COLLATE "C"
"""


class LeaseTaken(TransientError):
    """Somebody else holds the lease and did not let go in time: the step is retried as its `retry` says."""

    owner: str | None = None
    """Who holds it; None when it had been released by the time the holder was looked up."""


class LeaseLost(TransientError):
    """The lease ran out, or somebody else has it now: the attempt is given up and made again."""


@dataclass(frozen=True)
class Lease:
    """One or several names, held together."""

    owner: str
    tokens: Mapping[str, int]
    """The fencing token of each name."""
    ttl: float
    """Seconds it lasts from each renewal."""

    @property
    def names(self) -> str:
        """The names as people read them."""
        return ", ".join(self.tokens)

    def lost(self) -> LeaseLost:
        """The error that it is no longer held."""
        return LeaseLost(f"The lease on {self.names} was lost: it ran out before {self.owner} was done.")


@dataclass(frozen=True)
class Holder:
    """Who holds a name."""

    name: str
    token: int
    owner: str
    expires_in: float
    """Seconds; below zero for one whose holder neither renewed nor released it."""


class Leases:
    """Acquires, renews and releases leases in one database; most methods have a twin for coroutines (`a…`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, names: Iterable[str], owner: str, *, ttl: float = TTL, wait: float = 0.0) -> Lease:
        """Take all the names together, waiting up to `wait` seconds for others to let go of them.

        Raises:
            LeaseTaken: one of them was held all the time; none was taken.
            PermanentError: there are no names, or an empty one.
        """
        wanted = _checked(names)
        for pause in _pauses(wait):
            if (lease := run(self._database, _acquire(wanted, owner, ttl))) is not None:
                return lease
            if pause is not None:
                time.sleep(pause)
        raise _taken(wanted, run(self._database, _one(_holder(wanted))))

    async def aacquire(self, names: Iterable[str], owner: str, *, ttl: float = TTL, wait: float = 0.0) -> Lease:
        """`acquire` for coroutines."""
        wanted = _checked(names)
        for pause in _pauses(wait):
            if (lease := await arun(self._database, _acquire(wanted, owner, ttl))) is not None:
                return lease
            if pause is not None:
                await asyncio.sleep(pause)
        raise await self.ataken(wanted)

    async def ataken(self, names: list[str]) -> LeaseTaken:
        """The error for a caller that waited in vain for one of the names: it says who holds it, and for how long."""
        return _taken(names, await arun(self._database, _one(_holder(names))))

    def renew(self, lease: Lease) -> None:
        """Let it last for its `ttl` from now.

        Raises:
            LeaseLost: it has run out, whether or not somebody else has it by now.
        """
        _held(lease, run(self._database, _count(RENEW, lease)))

    async def arenew(self, lease: Lease) -> None:
        """`renew` for coroutines."""
        _held(lease, await arun(self._database, _count(RENEW, lease)))

    def release(self, lease: Lease) -> bool:
        """Let go of it; false when it was not held any more: what was done under it is in doubt then."""
        return run(self._database, _count(RELEASE, lease)) == len(lease.tokens)

    async def arelease(self, lease: Lease) -> bool:
        """`release` for coroutines."""
        return await arun(self._database, _count(RELEASE, lease)) == len(lease.tokens)

    def is_held(self, lease: Lease) -> bool:
        """True while every one of its names is held under its token."""
        row = run(self._database, _one(Query(IS_HELD, _parameters(lease))))
        return row is not None and row[0] == len(lease.tokens)

    async def ais_held(self, lease: Lease) -> bool:
        """`is_held` for coroutines."""
        row = await arun(self._database, _one(Query(IS_HELD, _parameters(lease))))
        return row is not None and row[0] == len(lease.tokens)

    def let_go(self, left: Holder) -> bool:
        """Release what its holder left behind; false when it has not run out, or somebody else has it by now."""
        return run(self._database, _one(Query(LET_GO, {"name": left.name, "token": left.token}))) is not None

    def held(self) -> list[Holder]:
        """Every lease that was not released, by name. One that has run out was left by a holder that died."""
        return [Holder(*row) for row in run(self._database, _rows(Query(LIST)))]


def _acquire(names: list[str], owner: str, ttl: float) -> Work[Lease | None]:
    query = Query(ACQUIRE, {"names": names, "owner": owner, "ttl": ttl})
    # A single name is taken or not: it needs no transaction, and costs one round trip in place of two.
    if len(names) == 1:
        rows = (yield [query])[0]
    else:
        rows = (yield [Query("BEGIN"), query])[1]
        # All of them or none. With A and B wanted by two, one could hold A and wait for B, the other the other way
        # round.
        yield [Query("COMMIT" if len(rows) == len(names) else "ROLLBACK")]
    return Lease(owner, dict(sorted(rows)), ttl) if len(rows) == len(names) else None


def _holder(names: list[str]) -> Query:
    return Query(HOLDER, {"names": names})


def _count(sql: str, lease: Lease) -> Work[int]:
    return len((yield [Query(sql, _parameters(lease))])[0])


def _one(query: Query) -> Work[tuple[object, ...] | None]:
    rows = (yield [query])[0]
    return rows[0] if rows else None


def _rows(query: Query) -> Work[list[tuple[str, int, str, float]]]:
    return [(name, token, owner, left) for name, token, owner, left in (yield [query])[0]]


def _parameters(lease: Lease) -> dict[str, object]:
    return {"names": list(lease.tokens), "tokens": list(lease.tokens.values()), "ttl": lease.ttl}


def _held(lease: Lease, count: int) -> None:
    if count != len(lease.tokens):
        raise lease.lost()


def _checked(names: Iterable[str]) -> list[str]:
    wanted = sorted(set(names))
    if not wanted or not all(wanted):
        raise PermanentError("A lease needs a name.", remedy="Check what the expressions in `lock` give.")
    return wanted


def _pauses(wait: float) -> Iterator[float | None]:
    """Seconds to sleep after each look, None after the last; random, so that those who wait do not look together."""
    end, pause = time.monotonic() + wait, FIRST_PAUSE
    while (left := end - time.monotonic()) > 0:
        yield min(pause * random.uniform(0.5, 1.0), left)  # noqa: S311
        pause = min(pause * 1.5, LONGEST_PAUSE)
    # One more look after the last pause: a lease that was released during the pause is still taken.
    yield None


def _taken(names: list[str], row: tuple[object, ...] | None) -> LeaseTaken:
    if row is None:
        # It was released between the last look and the question who holds it: worth a retry at once.
        return LeaseTaken(f"The lease on {', '.join(names)} was taken by somebody else.", retry_after=FIRST_PAUSE)
    name, owner, left = row
    taken = LeaseTaken(
        f"{owner} holds {name} for another {left:.1f} s at least.",
        remedy="It is tried again; a holder that died lets go when its lease runs out.",
    )
    taken.owner = str(owner)
    return taken
