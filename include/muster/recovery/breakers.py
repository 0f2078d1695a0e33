"""Circuit breakers whose state all processes share: what keeps failing is left alone for a while, then probed.

A breaker *opens* after so many failures in a row, stays open for some seconds, and then is *half open*: one
call at a time, in all processes together, probes whether the other side is back. A success closes it, a
failure opens it again. The pattern is Michael Nygard's, in *Release It!*.

Every change of state begins a new *generation*, and a call reports under the generation it was let through in. So the
outcome of a call that was let through before a change does not count after it.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from muster.database import Database
from muster.errors import MusterError, PermanentError
from muster.events.coalesce import Coalescer
from muster.events.driver import Query, Work, arun, run
from muster.failures import classify
from muster.misfits import misfits
from muster.recovery.ledger import NotPerformed

State = Literal["closed", "open", "half_open"]
Kind = Literal["agent", "tier", "tool", "host"]
KINDS: tuple[Kind, ...] = ("agent", "tier", "tool", "host")

CACHED = 1.0
"""Seconds for which a process uses what it last read: it may miss another process's change for as long."""

READ = """
SELECT state, generation, failures, greatest(0, extract(epoch FROM
       CASE state WHEN 'half_open' THEN probe_until ELSE open_until END - clock_timestamp()))::float8
  FROM breakers WHERE name = %(name)s
"""

# Of several that would probe at once, the first takes the row's lock. The others find it half open once they get it,
# with a probe that is not overdue.
PROBE = """
UPDATE breakers SET state = 'half_open', generation = generation + 1, changed_at = clock_timestamp(),
    probe_until = clock_timestamp() + make_interval(secs => %(probe_for)s::float8)
WHERE name = %(name)s AND ((state = 'open' AND open_until <= clock_timestamp())
                        OR (state = 'half_open' AND probe_until <= clock_timestamp()))
RETURNING generation
"""

_OPENS = "(known.state = 'half_open' OR known.failures + 1 >= %(limit)s::int)"

FAILED = f"""
INSERT INTO breakers AS known (name, failures, error, state, generation, opened_at, open_until)
SELECT %(name)s, 1, %(error)s, CASE WHEN opens THEN 'open' ELSE 'closed' END, opens::int,
       CASE WHEN opens THEN clock_timestamp() END,
       CASE WHEN opens THEN clock_timestamp() + make_interval(secs => %(open_for)s::float8) END
  FROM (SELECT %(limit)s::int <= 1) AS first (opens)
ON CONFLICT (name) DO UPDATE SET
    failures = known.failures + 1, error = EXCLUDED.error, probe_until = NULL, changed_at = clock_timestamp(),
    state = CASE WHEN {_OPENS} THEN 'open' ELSE 'closed' END,
    generation = known.generation + {_OPENS}::int,
    opened_at = CASE WHEN {_OPENS} THEN clock_timestamp() END,
    open_until = CASE WHEN {_OPENS} THEN clock_timestamp() + make_interval(secs => %(open_for)s::float8) END
WHERE known.generation = %(generation)s::bigint AND known.state <> 'open'
RETURNING state
"""

# Whether a failure was counted since the call was let through, here or elsewhere, only the row can tell. Where none
# was, nothing is written, and nothing waits for the disk.
SUCCEEDED = """
UPDATE breakers SET generation = generation + (state = 'half_open')::int, state = 'closed', failures = 0,
    error = NULL, opened_at = NULL, open_until = NULL, probe_until = NULL, changed_at = clock_timestamp()
WHERE name = %(name)s AND generation = %(generation)s::bigint AND state <> 'open'
  AND (failures > 0 OR state = 'half_open')
RETURNING state
"""

# A probe that says nothing makes room for the next one.
UNDECIDED = """
UPDATE breakers SET probe_until = clock_timestamp()
WHERE name = %(name)s AND generation = %(generation)s::bigint AND state = 'half_open' RETURNING state
"""

RESET = """
UPDATE breakers SET state = 'closed', generation = generation + 1, failures = 0, error = NULL, opened_at = NULL,
    open_until = NULL, probe_until = NULL, changed_at = clock_timestamp() WHERE name = %(name)s RETURNING name
"""

LIST = """
SELECT name, state, failures, greatest(0, extract(epoch FROM open_until - clock_timestamp()))::float8, error,
       opened_at, changed_at FROM breakers ORDER BY state = 'closed', name
"""


class BreakerOpen(NotPerformed):
    """The breaker is open, so the call was not made: another tier or agent is used, or the step waits."""

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(
            f"The circuit breaker {name} is open: it failed too often in a row.",
            remedy=f"It is probed again by itself; `muster breakers reset {name}` closes it at once.",
            retry_after=retry_after,
        )
        self.name = name


class Policy(BaseModel):
    """When a breaker opens, and what happens then; `settings.breakers` says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failures: int = Field(default=5, ge=0, le=10_000)
    """Failures in a row that open it; 0 for never."""
    open_seconds: float = Field(default=30.0, gt=0, le=86_400)
    """How long it stays open before it is probed."""
    probe_seconds: float = Field(default=150.0, gt=0, le=86_400)
    """How long a probe may take; after that another one may be made."""
    when_open: Literal["next", "wait"] = "next"
    """`next`: the next tier, or the step's fallback, does the work; `wait`: the step is retried when it may be."""


def policy_of(settings: Mapping[str, Any], name: str) -> Policy:
    """The policy of the breaker `<kind>:<what>`: what is said of it by name, else of its kind, else of all.

    Raises:
        PermanentError: `settings.breakers` says something else than a policy does.
    """
    said = settings.get("breakers", {})
    try:
        general = {key: value for key, value in said.items() if key not in KINDS and ":" not in key}
        return Policy(**(general | said.get(name.partition(":")[0], {}) | said.get(name, {})))
    except (ValidationError, TypeError, AttributeError) as error:
        wrong = "; ".join(misfits(error)) if isinstance(error, ValidationError) else error
        raise PermanentError(
            f"The setting `breakers` is no policy for {name}: {wrong}.",
            remedy="docs/recovery.md shows what can be said.",
        ) from error


class Permit(NamedTuple):
    """A call that was let through."""

    name: str
    generation: int
    is_probe: bool


@dataclass(frozen=True)
class Breaker:
    """A breaker as people see it."""

    name: str
    state: State
    failures: int
    """In a row."""
    opens_for: float
    """Seconds until it may be probed; 0 when it is closed, or may be."""
    error: str | None
    """The class and kind of the last failure; its words are where it happened."""
    opened_at: datetime | None
    changed_at: datetime


class _Known(NamedTuple):
    state: State
    generation: int
    failures: int
    until: float
    """On this process's monotonic clock: when an open or probed one may be probed."""
    read: float
    """On the same clock."""


class Breakers:
    """The breakers of one database, with what this process read of them lately."""

    def __init__(self, database: Database, *, cached: float = CACHED) -> None:
        self._database = database
        self._cached = cached
        self._known: dict[str, _Known] = {}
        # A thousand calls that come back together end a row of failures once.
        self._successes = Coalescer(self._succeeded)

    def admit(self, name: str, policy: Policy) -> Permit:
        """Let a call through, as a probe where the breaker is half open.

        Raises:
            BreakerOpen: it may not be made now.
        """
        if (permit := self._from_memory(name, policy)) is not None:
            return permit
        return run(self._database, self._admit(name, policy))

    async def aadmit(self, name: str, policy: Policy) -> Permit:
        """`admit` for coroutines."""
        if (permit := self._from_memory(name, policy)) is not None:
            return permit
        return await arun(self._database, self._admit(name, policy))

    def report(self, permit: Permit, policy: Policy, failure: BaseException | None) -> None:
        """Say how the call went: it failed, or (None) it succeeded."""
        if failure is None:
            run(self._database, self._end_row(permit))
        elif (query := _query(permit, policy, failure)) is not None:
            run(self._database, self._write(permit.name, query))

    async def areport(self, permit: Permit, policy: Policy, failure: BaseException | None) -> None:
        """`report` for coroutines."""
        if failure is None:
            await self._successes.submit(f"{permit.generation}/{permit.name}", permit)
        elif (query := _query(permit, policy, failure)) is not None:
            await arun(self._database, self._write(permit.name, query))

    def withdraw(self, permit: Permit) -> None:
        """Say that the call tells nothing, as one that was cancelled: another may probe in its place."""
        if permit.is_probe:
            run(self._database, self._write(permit.name, _of(UNDECIDED, permit)))

    async def awithdraw(self, permit: Permit) -> None:
        """`withdraw` for coroutines."""
        if permit.is_probe:
            await arun(self._database, self._write(permit.name, _of(UNDECIDED, permit)))

    def all(self) -> list[Breaker]:
        """Every breaker that ever counted a failure; those not closed first."""
        return run(self._database, _all())

    def reset(self, name: str) -> None:
        """Close it; other processes notice within `CACHED` seconds.

        Raises:
            MusterError: there is no such breaker.
        """
        if not run(self._database, self._write(name, Query(RESET, {"name": name}))):
            raise MusterError(f"There is no circuit breaker {name!r}.", remedy="`muster breakers` shows them all.")

    def _from_memory(self, name: str, policy: Policy) -> Permit | None:
        known, now = self._known.get(name), time.monotonic()
        if known is None or now - known.read >= self._cached:
            return None
        # At most `cached` seconds old: if another process has opened the breaker since, a few more calls pass.
        if known.state == "closed":
            return Permit(name, known.generation, is_probe=False)
        if known.until > now and policy.failures:
            raise BreakerOpen(name, known.until - now)
        return None

    def _admit(self, name: str, policy: Policy) -> Work[Permit]:
        rows = (yield [Query(READ, {"name": name})])[0]
        state, generation, failures, left = rows[0] if rows else ("closed", 0, 0, 0.0)
        now = time.monotonic()
        self._known[name] = _Known(state, generation, failures, now + (left or 0.0), now)
        if state == "closed" or not policy.failures:
            return Permit(name, generation, is_probe=False)
        # Whoever gets the probe, what was read here is outdated: it says that nobody probes.
        if not left:
            rows = (yield [Query(PROBE, {"name": name, "probe_for": policy.probe_seconds})])[0]
            self._known.pop(name, None)
            if rows:
                return Permit(name, rows[0][0], is_probe=True)
        # Without time left another call was first with its probe: ask again in a second.
        raise BreakerOpen(name, left or 1.0)

    async def _succeeded(self, _: str, permits: Sequence[Permit]) -> list[None]:
        # They are of one breaker and one generation, which are the key they came under: one statement ends their row.
        await arun(self._database, self._end_row(permits[0]))
        return [None] * len(permits)

    def _write(self, name: str, query: Query) -> Work[bool]:
        # Forgotten before the change and after it: another call may read the old row in between, and would go by it.
        self._known.pop(name, None)
        changed = bool((yield [query])[0])
        self._known.pop(name, None)
        return changed

    def _end_row(self, permit: Permit) -> Work[None]:
        """Write that a call succeeded; what was read stays true where that changes nothing."""
        if (yield [_of(SUCCEEDED, permit)])[0]:
            self._known.pop(permit.name, None)


def breakers_of(database: Database) -> Breakers:
    """The breakers of a database, one object for the whole process, so that they share what was read."""
    # Two threads may both find none: `setdefault` gives both the one that was stored first.
    known = _shared.get(database)
    return known if known is not None else _shared.setdefault(database, Breakers(database))


_shared: weakref.WeakKeyDictionary[Database, Breakers] = weakref.WeakKeyDictionary()


def _query(permit: Permit, policy: Policy, failure: BaseException) -> Query | None:
    if not policy.failures:
        return None
    # Not in words, which may repeat whom a call was about: a breaker is of all runs together, so nothing would find
    # them when one is forgotten.
    error = f"{type(failure).__name__} ({classify(failure)})"
    return _of(FAILED, permit, limit=policy.failures, open_for=policy.open_seconds, error=error)


def _of(sql: str, permit: Permit, **values: object) -> Query:
    return Query(sql, {"name": permit.name, "generation": permit.generation, **values})


def _all() -> Work[list[Breaker]]:
    return [Breaker(name, state, failures, left or 0.0, *rest)
            for name, state, failures, left, *rest in (yield [Query(LIST)])[0]]  # fmt: skip
