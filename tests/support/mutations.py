"""Bugs to put back into recovery, one at a time: what each changes, and the property that must notice it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Property = Literal["leases", "attempts", "effects", "breakers", "saga", "lives"]


@dataclass(frozen=True)
class Mutation:
    """One bug."""

    guarantee: str
    """The promise it breaks, as docs/guarantees.md says it."""
    held_by: Property
    module: str
    replaced: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By the name of a text in the module: a part of it, and what stands there instead."""
    functions: Mapping[str, Any] = field(default_factory=dict)
    """By name, also that of a class's: what is called instead."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The bug in this process; a part that is not there fails, so that the table cannot grow stale."""
        module, instead = importlib.import_module(self.module), dict[str, Any](self.functions)
        for name, (old, new) in self.replaced.items():
            assert old in getattr(module, name), f"{self.module}.{name} no longer holds {old!r}"
            instead[name] = getattr(module, name).replace(old, new)
        with ExitStack() as undone:
            for name, wrong in instead.items():
                owner, _, attribute = name.rpartition(".")
                place = getattr(module, owner) if owner else module
                undone.callback(setattr, place, attribute, vars(place)[attribute])
                setattr(place, attribute, wrong)
            yield


def _keep_what_was_free(names: list[str], owner: str, ttl: float) -> Any:
    from muster.recovery.leases import ACQUIRE, Lease, Query

    rows = (yield [Query(ACQUIRE, {"names": names, "owner": owner, "ttl": ttl})])[0]
    return Lease(owner, dict(sorted(rows)), ttl) if len(rows) == len(names) else None


def _as_given(names: Any) -> list[str]:
    return list(names)


def _always_failed(error: BaseException) -> str:
    return "failed"


def _nothing() -> None:
    """Looks at nothing."""


def _never(*_: Any) -> bool:
    return False


def _cancelled_only(life: Any, _: Any) -> Any:
    from muster.execution.stopping import CANCELLED, Skip

    return Skip(CANCELLED) if life.is_cancelled else None


def _unwinding_only(life: Any, ref: Any) -> Any:
    from muster.execution.stopping import UNWINDING, Skip

    return Skip(UNWINDING) if life.unwound_in == ref.epoch else None


def _only_what_succeeded(result: Any) -> list[int | None]:
    if not result.is_fan_out:
        return [None] if result.whole.status == "succeeded" else []
    return [index for index in sorted(result.items) if result.items[index].status == "succeeded"]


def _in_any_order(definition: Any) -> dict[str, tuple[str, ...]]:
    return {step.id: () for step in definition.steps if step.can_be_undone}


def _none_of_it(*_: Any, **__: Any) -> set[Any]:
    return set()


async def _not_refused(*_: Any) -> None:
    """Whatever stands there."""


def _has_ended(work: Any) -> bool:
    return bool(work.ended and work.status != "undone")


async def _not_stuck(*_: Any) -> Any:
    from muster.execution.outcome import Outcome

    return Outcome(status="succeeded")


def _always_compensated(state: Any, reasons: list[str], epoch: int) -> str:
    if state.unwinding is not None:
        return "compensated"
    return "failed" if reasons else "succeeded"


def _always_the_same() -> Any:
    from uuid import UUID

    return UUID(int=0)


def _one_key_for_all(work_item: Any) -> str:
    return f"{work_item.view.id}/{work_item.key}"


ATTEMPTS = "muster.recovery.attempts"
LEASES, LEDGER = "muster.recovery.leases", "muster.recovery.ledger"
EFFECTS, BREAKERS = "muster.recovery.effects", "muster.recovery.breakers"

_LATEST = "WHERE (known.execution, known.attempt) <= (EXCLUDED.execution, EXCLUDED.attempt)"
_LAPSED = ("held.expires_at > clock_timestamp()", "true")
_FREE = "WHERE held.expires_at IS NULL OR held.expires_at <= clock_timestamp()"
_MINE = "ON mine.name = held.name AND mine.token = held.token"
_IN_TIME = "WHERE held.expires_at > clock_timestamp()"
_IN_DOUBT = "AND (status = 'unknown' OR (status = 'begun' AND claimed_until <= clock_timestamp()))"
_CLAIMED = "coalesce(extract(epoch FROM claimed_until - clock_timestamp())::float8, 0)"
_THIS = "AND generation = %(generation)s::bigint AND state <> 'open'"

MUTATIONS: dict[str, Mutation] = {
    "a held lease is handed out again": Mutation(
        "a name has one holder at a time", "leases", LEASES, {"ACQUIRE": (_FREE, "")}
    ),
    "a lease that ran out is never handed out again": Mutation(
        "what a dead holder held is free when its time is over",
        "leases", LEASES, {"ACQUIRE": (_FREE, "WHERE held.expires_at IS NULL")},
    ),
    "the fencing token does not grow": Mutation(
        "tokens of a name only grow", "leases", LEASES, {"ACQUIRE": ("token = held.token + 1", "token = held.token")}
    ),
    "the fencing token starts afresh after a release": Mutation(
        "tokens of a name only grow",
        "leases", LEASES, {"RELEASE": ("SET owner = NULL", "SET token = 0, owner = NULL")},
    ),
    "a lease is renewed without looking at its token": Mutation(
        "a lost lease cannot be renewed", "leases", LEASES, {"RENEW": (_MINE, "ON mine.name = held.name")}
    ),
    "a lease is released without looking at its token": Mutation(
        "nobody lets go of what another holds", "leases", LEASES, {"RELEASE": (_MINE, "ON mine.name = held.name")}
    ),
    "a lease that ran out counts as held": Mutation(
        "a lost lease is noticed", "leases", LEASES, {"IS_HELD": (_IN_TIME, "")}
    ),
    "the fence lets a lease pass that ran out": Mutation(
        "a lost lease is noticed before what it protects is written",
        "leases", ATTEMPTS, {"FENCE": _LAPSED}
    ),
    "an effect is begun under a lease that ran out": Mutation(
        "a lost lease is noticed before what it protects is written", "leases", ATTEMPTS, {"FENCED": _LAPSED}
    ),
    "a revoked attempt may still write": Mutation(
        "of the attempts at one work_item of work one at a time can do anything",
        "attempts", ATTEMPTS, {"FENCE": (_LATEST, "")},
    ),
    "a revoked attempt may still begin an effect": Mutation(
        "of the attempts at one work_item of work one at a time can do anything",
        "attempts", ATTEMPTS, {"FENCED": (_LATEST, "")},
    ),
    "an effect is begun although its attempt was refused": Mutation(
        "of the attempts at one work_item of work one at a time can do anything",
        "attempts", ATTEMPTS, {"FENCED": ("mine = 1 AND", "")},
    ),
    "an attempt takes back the place of a later one": Mutation(
        "of the attempts at one work_item of work one at a time can do anything",
        "attempts", ATTEMPTS, {"ADVANCE": (_LATEST, "")},
    ),
    "a claim is not renewed": Mutation(
        "an effect whose process lives is not begun again",
        "effects", "muster.recovery.renewing", {"RENEW": ("known.status = 'begun'", "false")},
    ),
    "some of several names are kept when not all are free": Mutation(
        "several names are taken together or not at all",
        "leases", LEASES, functions={"_acquire": _keep_what_was_free},
    ),
    "names are locked in the order they are given": Mutation(
        "leases never deadlock",
        "leases", LEASES, {"ACQUIRE": ('ORDER BY name COLLATE "C"', "")}, {"_checked": _as_given},
    ),
    "an effect in doubt is begun again without asking": Mutation(
        "a crashed attempt finds out what happened first",
        "effects", LEDGER, {"BEGIN": ("WHERE known.status = 'failed'", "WHERE known.status <> 'done'")},
    ),
    "an effect that is done is begun again": Mutation(
        "an effect that happened is never performed again",
        "effects", LEDGER, {"BEGIN": ("WHERE known.status = 'failed'", "WHERE known.status IN ('failed', 'done')")},
    ),
    "the same key with another request is accepted": Mutation(
        "a key stands for one request",
        "effects", LEDGER,
        {"FIND": ("SELECT kind, request", "SELECT %(kind)s::text, %(request)s::text")},
    ),
    "a corrected request is not written down": Mutation(
        "a key stands for the request that was carried out",
        "effects", LEDGER,
        {"BEGIN": ("kind = EXCLUDED.kind, request = EXCLUDED.request, ", ""),
         "DONE": ("kind = %(kind)s::text, request = %(request)s::text, ", "")},
    ),
    "a done effect is not written down": Mutation(
        "an effect that happened is never performed again",
        "effects", LEDGER, {"DONE": ("status = 'done',", "status = 'unknown',")},
    ),
    "an effect that is being performed is taken for abandoned": Mutation(
        "of several attempts at once one performs",
        "effects", LEDGER,
        {"FIND": (_CLAIMED, "0::float8"), "TAKE": (_IN_DOUBT, "AND status <> 'done'")},
    ),
    "who was overtaken says that nothing happened": Mutation(
        "only the attempt that holds the claim may call it failed",
        "effects", LEDGER, {"NOT_DONE": ("AND attempt = %(attempt)s AND status = 'begun'", "")},
    ),
    "a second result replaces the first": Mutation(
        "every attempt is given the first result", "effects", LEDGER, {"DONE": (" AND status <> 'done'", "")}
    ),
    "an error that says nothing counts as not happened": Mutation(
        "an unknown outcome is never taken for a failure", "effects", EFFECTS, functions={"_status": _always_failed}
    ),
    "an effect is begun under a lease that was lost": Mutation(
        "a lost lease is noticed before the next effect", "effects", EFFECTS, functions={"check_held": _nothing}
    ),
    "several probes are let through at once": Mutation(
        "one call at a time probes, in all processes together",
        "breakers", BREAKERS,
        {"PROBE": ("probe_until <= clock_timestamp()", "true"), "READ": ("probe_until ELSE", "NULL ELSE")},
    ),
    "a probe that died blocks the breaker for ever": Mutation(
        "a probe that died is followed by another",
        "breakers", BREAKERS, {"PROBE": ("OR (state = 'half_open' AND probe_until <= clock_timestamp())", "")},
    ),
    "an open breaker is probed before its time": Mutation(
        "an open breaker is left alone for its time",
        "breakers", BREAKERS,
        {"PROBE": ("AND open_until <= clock_timestamp()", ""), "READ": ("ELSE open_until", "ELSE NULL")},
    ),
    "a late failure counts in another generation": Mutation(
        "what began before a change of state says nothing after it",
        "breakers", BREAKERS, {"FAILED": ("WHERE known.generation = %(generation)s::bigint AND", "WHERE")},
    ),
    "a late success closes an open breaker": Mutation(
        "what began before a change of state says nothing after it", "breakers", BREAKERS, {"SUCCEEDED": (_THIS, "")}
    ),
    "a probe that died may still speak": Mutation(
        "what began before a change of state says nothing after it",
        "breakers", BREAKERS,
        {"PROBE": ("generation = generation + 1", "generation = generation"),
         "FAILED": ("generation = known.generation + ", "generation = known.generation + 0 * "),
         "SUCCEEDED": ("generation = generation + (state = 'half_open')::int", "generation = generation")},
    ),
    "a failed probe leaves the breaker closed": Mutation(
        "a failed probe opens the breaker again",
        "breakers", BREAKERS, {"FAILED": ("known.state = 'half_open' OR", "known.state <> 'half_open' AND")},
    ),
    "a success does not end a row of failures": Mutation(
        "a breaker opens after so many failures in a row", "breakers", BREAKERS,
        {"SUCCEEDED": ("failures = 0,", "failures = failures,")},
    ),
    "a success is not counted where nothing had failed when the call began": Mutation(
        "a breaker opens after so many failures in a row",
        "breakers", BREAKERS, {"SUCCEEDED": ("(failures > 0 OR state = 'half_open')", "state = 'half_open'")},
    ),
    "a breaker opens one failure too late": Mutation(
        "a breaker opens after so many failures in a row",
        "breakers", BREAKERS, {"FAILED": ("known.failures + 1 >= %(limit)s", "known.failures >= %(limit)s")},
    ),
    "a reset lets early calls go on speaking": Mutation(
        "what began before a change of state says nothing after it",
        "breakers", BREAKERS, {"RESET": ("generation = generation + 1, ", "")},
    ),
    "who counts as dead begins while the run is undone": Mutation(
        "no step is performed after undoing began",
        "saga", "muster.execution.stopping", functions={"_why": _cancelled_only},
    ),
    "a cancelled run goes on beginning items": Mutation(
        "a cancelled run begins nothing more",
        "saga", "muster.execution.stopping", functions={"_why": _unwinding_only},
    ),
    "what ended without an outcome is not undone": Mutation(
        "everything the run began is undone",
        "saga", "muster.events.work", functions={"StepState.standing": property(_only_what_succeeded)},
    ),
    "steps are undone in any order": Mutation(
        "a run is undone in reverse", "saga", "muster.language.sagas", functions={"undone_after": _in_any_order}
    ),
    "undoing goes on after a compensation failed": Mutation(
        "once a compensation fails for good the rest stays as it is",
        "saga", "muster.saga.unwinding", functions={"_stuck": _not_stuck},
    ),
    "a run half undone counts as compensated": Mutation(
        "a run is undone as a whole, or stuck",
        "saga", "muster.saga.closing", functions={"_status": _always_compensated},
    ),
    "several people resume a stuck run": Mutation(
        "of several who resume a stuck run one does",
        "saga", "muster.saga.resuming", functions={"uuid4": _always_the_same},
    ),
    "a restart leaves out what was undone": Mutation(
        "a restart does again what was undone",
        "saga", "muster.operations.redoing", functions={"_is_undone": _never},
    ),
    "what is done anew is taken for what was undone": Mutation(
        "each execution is undone once",
        "saga", "muster.execution.work_item", functions={"WorkItem.effect_key": property(_one_key_for_all)},
    ),
    "a redrive forgets what an earlier one did not come to": Mutation(
        "what a redrive did not come to is done by the next",
        "lives", "muster.execution.rerun_scope", functions={"_without_outcome": _none_of_it, "_skipped": _none_of_it},
    ),
    "an item is done in the place of another that stands": Mutation(
        "nothing is done in the place of another item that stands",
        "lives", "muster.execution.laying_out", functions={"ensure_not_replaced": _not_refused},
    ),
    "what a list has no work for any more is gone on with": Mutation(
        "nothing goes on with what an earlier execution left of an item that is out of the list",
        "lives", "muster.execution.laying_out", functions={"not_listed": _none_of_it},
    ),
    "an outcome counts that a restart was to make anew": Mutation(
        "what has no outcome lets nothing after it go ahead, also in a later execution",
        "lives", "muster.events.work", functions={"WorkState.has_outcome": property(_has_ended)},
    ),
}  # fmt: skip
"""By what the bug does."""
