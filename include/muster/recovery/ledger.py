"""The ledger of outside effects: what was begun, what came of it, and how an attempt finds out after a crash.

An effect is begun in the ledger before it is performed and settled after. Done, it is never performed again:
every later attempt is given the first one's result. An attempt that finds it begun without an outcome asks
what happened before it goes on. Nobody can do better from outside: whether a request that was never answered
arrived, only the other side knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeVar

from muster.database import Database, Fence
from muster.errors import Final, MusterError, PermanentError, TransientError
from muster.events.canonical import canonical
from muster.events.driver import HotQuery, Query, Rows, Work, arun, run
from muster.events.sealing import Seals, current_seals, told
from muster.redaction import redact

T = TypeVar("T")
Status = Literal["begun", "done", "failed", "unknown"]

# An effect that certainly did not happen may be begun again, also with another request: somebody may have mended
# what it was refused for. Everything else is looked at first.
BEGIN = """
INSERT INTO effects AS known (key, kind, request, run, status, claimed_until)
SELECT %(key)s::text, %(kind)s::text, %(request)s::text, %(effect_run)s::text, 'begun',
       clock_timestamp() + make_interval(secs => %(claim)s::float8) FROM fence
ON CONFLICT (key) DO UPDATE SET
    kind = EXCLUDED.kind, request = EXCLUDED.request, run = EXCLUDED.run, status = 'begun', attempt = known.attempt + 1,
    claimed_until = EXCLUDED.claimed_until, error = NULL, begun_at = clock_timestamp(), settled_at = NULL
WHERE known.status = 'failed'
RETURNING attempt
"""

FIND = """
SELECT kind, request, status, attempt, result,
       coalesce(extract(epoch FROM claimed_until - clock_timestamp())::float8, 0) FROM effects WHERE key = %(key)s
"""

# Of several that find the same effect in doubt, one finds out what happened.
TAKE = """
UPDATE effects SET status = 'begun', attempt = effects.attempt + 1, begun_at = clock_timestamp(), settled_at = NULL,
    claimed_until = clock_timestamp() + make_interval(secs => %(claim)s::float8) FROM fence
WHERE key = %(key)s::text AND effects.attempt = %(found)s::integer
  AND (status = 'unknown' OR (status = 'begun' AND claimed_until <= clock_timestamp()))
RETURNING effects.attempt
"""

# An outcome need not wait for the disk: one that is lost with the database's memory is in doubt, and found out.
_UNFLUSHED = "set_config('synchronous_commit', 'off', true) = 'off'"

# Whoever performed it may say so, also after its claim had run out: it is true, and stops everybody else. Others may
# have begun it with another request since, so what was done is written down as well.
DONE = f"""
UPDATE effects SET kind = %(kind)s::text, request = %(request)s::text, status = 'done',
    result = %(result)s::text::json, error = NULL, claimed_until = NULL, settled_at = clock_timestamp()
WHERE key = %(key)s::text AND status <> 'done' AND {_UNFLUSHED} RETURNING 1
"""

# Only the attempt that holds the claim knows that nothing happened, or that nobody knows.
NOT_DONE = f"""
UPDATE effects SET status = %(status)s, error = %(error)s, claimed_until = NULL, settled_at = clock_timestamp()
WHERE key = %(key)s AND attempt = %(attempt)s AND status = 'begun' AND {_UNFLUSHED} RETURNING 1
"""

DECIDE = """
UPDATE effects SET status = %(status)s, result = %(result)s::json, error = NULL, claimed_until = NULL,
    settled_at = clock_timestamp()
WHERE key = %(key)s AND (status = 'unknown' OR (status = 'begun' AND claimed_until <= clock_timestamp())) RETURNING 1
"""

# Of what somebody else began and what is not there: only as it was found, and never while that goes on.
FREE = """
UPDATE effects SET status = 'failed', claimed_until = NULL, settled_at = clock_timestamp()
WHERE key = %(key)s AND attempt = %(attempt)s AND status = %(status)s
  AND (status <> 'begun' OR claimed_until <= clock_timestamp()) RETURNING 1
"""

LIST = """
SELECT key, kind, run, CASE WHEN claimed_until <= clock_timestamp() THEN 'unknown' ELSE status END,
       attempt, result, error, begun_at, settled_at FROM effects
 WHERE (%(run)s::text IS NULL OR run = %(run)s)
   AND (NOT %(in_doubt)s OR status = 'unknown' OR claimed_until <= clock_timestamp())
 ORDER BY begun_at DESC LIMIT %(limit)s
"""

# Also one whose claim has not run out: who asks knows that nothing of the work goes on any more.
UNDER = """
SELECT key, status FROM effects
 WHERE run = %(run)s AND starts_with(key, %(under)s) AND status <> 'failed' ORDER BY status = 'done', begun_at LIMIT 1
"""

LONGEST_ERROR = 2_000

_STANDS = (
    "What was done stands: take it back by its own means where it was wrong. "
    "Two effects of one work item need a name each."
)
_OPEN = (
    "Whether that one happened comes first: find out, and say so with `muster effects settle`. If it did not happen, "
    "the new request is carried out. Two effects of one work item need a name each."
)


class EffectConflict(PermanentError):
    """The key stands for another request that happened, or may have: nothing was performed, so that neither hides."""

    attempt = 0
    status: Status = "begun"
    """Which attempt at the other request was found, and how."""


class OutcomeUnknown(Final):
    """An attempt began the effect, and whether it happened cannot be found out: a person has to."""

    @classmethod
    def of(cls, key: str, message: str) -> OutcomeUnknown:
        """The error about the effect of that key."""
        return cls(message, remedy=f"Find out whether {key!r} happened, and say so with `muster effects settle`.")


class NotPerformed(TransientError):
    """Raised by what performs an effect: it certainly did not happen, so it may simply be tried again."""


@dataclass(frozen=True)
class Happened:
    """What `find_out` answers when the effect did happen."""

    result: Any = None
    """What performing it would have given back; JSON."""


class EffectResult(NamedTuple):
    """What `find_out` answers otherwise."""

    may_repeat: bool


NEVER_HAPPENED = EffectResult(may_repeat=True)
"""The effect did not happen: it is performed now."""
CANNOT_TELL = EffectResult(may_repeat=False)
"""There is no knowing: a person has to find out."""

FindOut = Callable[[], "Happened | EffectResult | Awaitable[Happened | EffectResult]"]
"""Asks the other side what became of an attempt that never came back."""


def repeatable() -> EffectResult:
    """The `find_out` of an effect that may happen twice, or whose other side drops repetitions by their key."""
    return NEVER_HAPPENED


def cannot_tell() -> EffectResult:
    """The `find_out` of an effect that nobody can ask about."""
    return CANNOT_TELL


@dataclass(frozen=True)
class Effect:
    """One thing to be done outside, once."""

    key: str
    """Idempotency key: the same in every attempt."""
    kind: str
    """What it is: `slack`, `email`, `payment`, …"""
    request: str
    """Hash of what is asked for."""
    run: str | None = None

    @classmethod
    def of(cls, key: str, kind: str, request: Any, run: str | None = None) -> Effect:
        """An effect whose request is JSON."""
        return cls(key, kind, request_hash(request), run)


def effect_key(work: str, agent: str | None, name: str) -> str:
    """The key of an effect of the work; `agent` is who does it in the place of the step's own."""
    return f"{work}/effect/{name}" if agent is None else f"{work}/agent/{agent}/effect/{name}"


def request_hash(request: Any) -> str:
    """SHA-256 of a request's canonical JSON."""
    return sha256(canonical(request).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An effect as the ledger has it."""

    key: str
    kind: str
    run: str | None
    status: Status
    """`begun`: being performed; `failed`: it did not happen; `unknown`: whether it did is to be found out."""
    attempt: int
    result: Any
    error: str | None
    begun_at: datetime
    settled_at: datetime | None


class Outside(NamedTuple):
    """An effect that a work item has begun, and that is not known not to have happened."""

    key: str
    status: Status

    @property
    def told(self) -> str:
        """What is known of it, in words."""
        return f"{self.key!r} has happened" if self.status == "done" else f"Whether {self.key!r} happened is unknown"

    def keeps(self, untried: str, remedy: str, *, before: str = "") -> Final:
        """The error that something was not tried, because it might do the same a second time.

        `remedy` is for what has happened; what came before is told before.
        """
        message = f"{before}{self.told}, {untried}"
        return Final(message, remedy=remedy) if self.status == "done" else OutcomeUnknown.of(self.key, message)


class Begun(NamedTuple):
    """This attempt may perform the effect."""

    attempt: int


class InDoubt(NamedTuple):
    """This attempt is to find out what became of an earlier one."""

    attempt: int


class Done(NamedTuple):
    """It happened before."""

    result: Any


class Busy(NamedTuple):
    """Another attempt is at it, for so many seconds at most."""

    seconds: float


class Ledger:
    """Entries of effects in one database; `muster.recovery.effects` performs effects by it."""

    def __init__(self, database: Database) -> None:
        # Only a beginning presents the attempt. An outcome is true whatever became of the attempt, so it is written.
        self.database, self._fence, self._given = database.bare, database.fence, database.seals

    @property
    def seals(self) -> Seals | None:
        """The seals of the work this ledger was given to, also in a skill's own thread; else of the work under way."""
        given: Seals | None = self._given
        return given or current_seals()

    def do(self, work: Work[T]) -> T:
        """Perform one of this module's work items."""
        return run(self.database, work)

    async def ado(self, work: Work[T]) -> T:
        """`do` for coroutines."""
        return await arun(self.database, work)

    def begin(self, effect: Effect, claim: float) -> Begun | InDoubt | Done | Busy:
        """Begin an effect, or say why not; the claim on it lasts for `claim` seconds.

        Raises:
            EffectConflict: its key was used for something else that happened, or may have.
            AttemptRevoked: the attempt that would perform it has ended.
            LeaseLost: a lease that the attempt is made under was lost.
        """
        return run(self.database, begin(effect, claim, self.seals, self._fence))

    async def abegin(self, effect: Effect, claim: float) -> Begun | InDoubt | Done | Busy:
        """`begin` for coroutines."""
        return await arun(self.database, begin(effect, claim, self.seals, self._fence))

    async def aoutside(self, run: str, work: str) -> Outside | None:
        """An effect that a work item, of which nothing goes on any more, has had, or may have had: one in doubt
        before one that is done. `work` is what begins the keys of its effects.
        """
        rows = await arun(self.database, _rows(UNDER, {"run": run, "under": f"{work}/"}))
        return Outside(*rows[0]) if rows else None

    def entries(self, *, run: str | None = None, in_doubt: bool = False, limit: int = 100) -> list[Entry]:
        """Newest first; of one run or of all, everything or only what nobody knows the outcome of."""
        return self.do(_entries({"run": run, "in_doubt": in_doubt, "limit": limit}))

    def decide(self, key: str, *, happened: bool, result: Any = None) -> None:
        """Let a person say what became of an effect that is in doubt.

        Raises:
            MusterError: it is not in doubt, or unknown.
        """
        status = "done" if happened else "failed"
        if not self.do(_changed(DECIDE, key=key, status=status, result=canonical(result))):
            raise MusterError(f"The effect {key!r} is not in doubt.", remedy="`muster effects` shows those that are.")

    def knows(self, key: str) -> bool:
        """True of an effect that somebody has begun, unless it is known not to have happened."""
        rows = self.do(_rows(FIND, {"key": key}))
        return bool(rows) and rows[0][2] != "failed"

    def free(self, key: str, found: EffectConflict) -> bool:
        """Let a key be used again whose effect, found as `found`, is not there; False when another is at it.

        It is for a caller that has looked on the other side: an entry that has changed since stays as it is.
        """
        return self.do(_changed(FREE, key=key, attempt=found.attempt, status=found.status))


def begin(
    effect: Effect, claim: float, seals: Seals | None = None, fence: Fence | None = None
) -> Work[Begun | InDoubt | Done | Busy]:
    """Begin an effect, or say why not; the claim on it lasts for `claim` seconds.

    Raises:
        EffectConflict: its key was used for something else that happened, or may have.
    """
    values = {"key": effect.key, "kind": effect.kind, "request": effect.request, "claim": claim}
    if number := (yield from _alone(BEGIN, {**values, "effect_run": effect.run}, fence)):
        return Begun(number)
    if not (known := (yield [Query(FIND, values)])[0]):
        # It was there a moment ago, and pruned since.
        return (yield from begin(effect, claim, seals, fence))
    kind, request, status, attempt, result, claimed = known[0]
    # One that has failed since we looked is begun at the next look, whatever was asked for before.
    if status != "failed" and (kind, request) != (effect.kind, effect.request):
        conflict = EffectConflict(
            f"The effect {effect.key!r} ({effect.kind}) was begun before, with another request.",
            remedy=_STANDS if status == "done" else _OPEN,
        )
        conflict.attempt, conflict.status = attempt, status
        raise conflict
    if status == "done":
        return Done(_opened(result, seals))
    if claimed > 0:
        return Busy(claimed)
    # 0 seconds, so look again at once: another that found it in doubt was first, or its outcome has come since.
    number = yield from _alone(TAKE, {**values, "found": attempt}, fence)
    return InDoubt(number) if number else Busy(0.0)


def _alone(sql: str, values: dict[str, Any], fence: Fence | None) -> Work[int]:
    """The number that a statement gives back, or 0: it writes what it selects from `fence`."""
    if fence is None:
        rows = (yield [HotQuery(f"WITH fence AS (SELECT) {sql}", values)])[0]
    else:
        rows = (yield [HotQuery(*fence.around(sql, values))])[0]
        fence.judge(rows)
    return int(rows[0][-1]) if rows else 0


def done(effect: Effect, result: Any, seals: Seals | None) -> Work[Any]:
    """Settle that it happened; the result that counts, which is another attempt's when that one was first."""
    kept = canonical(result if seals is None else seals.seal(result))
    values = {"key": effect.key, "kind": effect.kind, "request": effect.request, "result": kept}
    if not (yield [HotQuery(DONE, values)])[0]:
        known = (yield [Query(FIND, {"key": effect.key})])[0]
        # An entry that is gone was pruned since: what is known here is all there is.
        return _opened(known[0][4], seals) if known else result
    return result


def not_done(
    effect: Effect, attempt: int, error: BaseException | str, status: Status, seals: Seals | None
) -> Work[bool]:
    """Settle that it did not happen (`failed`), or that nobody knows (`unknown`)."""
    text = error if isinstance(error, str) else told(error, seals)
    text = redact(text)[:LONGEST_ERROR].replace("\0", "\ufffd").encode(errors="replace").decode()
    return (yield from _changed(NOT_DONE, key=effect.key, attempt=attempt, status=status, error=text))


def _opened(result: Any, seals: Seals | None) -> Any:
    return result if seals is None else seals.open(result)


def _changed(sql: str, **values: Any) -> Work[bool]:
    return bool((yield [Query(sql, values)])[0])


def _rows(sql: str, values: dict[str, Any]) -> Work[Rows]:
    return (yield [Query(sql, values)])[0]


def _entries(values: dict[str, Any]) -> Work[list[Entry]]:
    rows: Rows = (yield [Query(LIST, values)])[0]
    names = ("key", "kind", "run", "status", "attempt", "result", "error", "begun_at", "settled_at")
    return [Entry(**dict(zip(names, row, strict=True))) for row in rows]
