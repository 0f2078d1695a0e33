"""Compares what really happened with what the log says: what was lost, what was doubled, what does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from campaigns.chaos.campaign import Campaign
from campaigns.chaos.faults import Strike
from campaigns.chaos.follower import Seen
from campaigns.chaos.plan import OPTIONAL, Planned
from campaigns.chaos.settling import Settled
from campaigns.chaos.witness import Deed, Work
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import Event, EventType
from muster.events.queries import Queries
from muster.events.replay import replay
from muster.events.state import fold
from muster.recovery.leases import Leases
from muster.recovery.ledger import Ledger

UNENDED = frozenset({"open", "stuck"})
"""Statuses that no run may have in the end."""


@dataclass
class Report:
    """What a campaign has shown."""

    not_started: int = 0
    """Runs for which there was no time: the machine was too slow for so many."""
    ends: Counter[str] = field(default_factory=Counter)
    """How the runs ended, by status."""
    reconciled: int = 0
    """Runs that ended because the reconciler saw to it."""
    freed: int = 0
    """Schedulers that had died with their clock ahead, whose work a person had Airflow take up."""
    resumed: int = 0
    """Runs that had been stuck."""
    lost: list[str] = field(default_factory=list)
    """Events that were there and are not, or should be there."""
    doubled: list[str] = field(default_factory=list)
    """Effects that happened more than once."""
    invariants: list[str] = field(default_factory=list)
    """Everything else that does not hold."""
    in_doubt: int = 0
    """Effects whose outcome nobody knew; each was reported."""
    deeds: int = 0
    found: int = 0
    """Times that an attempt asked the other side, and learned that the effect had happened."""
    cancelled: int = 0
    """Runs that were cancelled on the way."""
    events: int = 0
    strikes: Sequence[Strike] = ()
    impossible: Mapping[str, str] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        """True when Muster did not keep what it promises."""
        return bool(self.lost or self.doubled or self.invariants)


def judge(played: Campaign, settled: Settled) -> Report:
    """Look at everything."""
    world = played.world
    world.follower.stop()
    database = Database(world.dsn, max_size=2)
    try:
        log, queries = EventLog(database), Queries(database)
        streams = {run.id: list(log.read(run.id)) for run in played.started}
        parents = {child: run for run, events in streams.items() for child in fold(events).children}
        streams |= {child: list(log.read(child)) for child in parents}
        rows = {row.id: row.status for row in queries.runs(limit=100_000)}
        statuses = statuses_of(played.started, rows, world.ended_runs())
        deeds = world.witness.deeds
        report = Report(
            not_started=len(played.runs) - len(played.started),
            ends=Counter(statuses.values()),
            reconciled=len({each.subject for each in settled.found if each.mended and each.kind in ("run", "task")}),
            freed=settled.freed,
            resumed=len(settled.stuck),
            lost=[*lost(world.follower.seen, streams), *unwritten(deeds, streams)],
            doubled=[*doubled(deeds), *(f"{order} was performed after it was undone" for order in world.witness.late)],
            in_doubt=len(settled.in_doubt),
            deeds=len(deeds),
            found=world.witness.found,
            cancelled=sum(_cancelled_at(events) is not None for events in streams.values()),
            events=sum(map(len, streams.values())),
            strikes=played.strikes,
            impossible=played.impossible,
        )
        report.invariants += [f"{fault.stream}: {fault.message}" for fault in log.verify_all()]
        report.invariants += _projections(database, streams)
        report.invariants += ends(played.started, statuses, [of_parent(deed, parents) for deed in deeds])
        report.invariants += [f"{child} is {rows[child]} in the end" for child in parents if rows.get(child) in UNENDED]
        report.invariants += begun_though_cancelled(streams, deeds)
        report.invariants += refused_though_approved(streams)
        report.invariants += reported(settled)
        report.invariants += _leftovers(database)
        return report
    finally:
        database.close()


def lost(seen: Iterable[Seen], streams: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Events that a follower has read and that are not in the log, and gaps between versions."""
    seen = list(seen)
    stored = {(stream, event.version): event.hash for stream, events in streams.items() for event in events}
    for event in seen:
        if event.stream in streams and stored.get((event.stream, event.version)) != event.hash:
            yield f"{event.stream}: version {event.version} ({event.type}) was read, and is not there any more"
    followed = {(event.stream, event.version) for event in seen}
    for stream, events in streams.items():
        for number, event in enumerate(events, 1):
            if event.version != number:
                yield f"{stream}: version {number} is missing"
                break
            if (stream, event.version) not in followed:
                yield f"{stream}: version {number} ({event.type}) was skipped for who follows the log"


def unwritten(deeds: Iterable[Deed], streams: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Effects that were acknowledged, and whose work never began or never ended in the log."""
    began, ended = set(), set()
    for stream, events in streams.items():
        for event in events:
            work = (stream, event.data.get("step"), event.data.get("index"))
            if event.type == EventType.STEP_STARTED:
                began.add(work)
            elif event.type in (EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.COMPENSATION_SUCCEEDED):
                ended.add(work)
    for deed in deeds:
        if deed.work not in began:
            yield f"{_name(deed.work)} happened, and the log does not say that it began"
        elif deed.answered and deed.work not in ended:
            yield f"{_name(deed.work)} was acknowledged, and the log does not say how it ended"


def doubled(deeds: Iterable[Deed]) -> Iterator[str]:
    """Work items whose effect happened more than once: nothing in a campaign is meant to be done again."""
    for work, count in Counter(deed.work for deed in deeds).items():
        if count > 1:
            yield f"{_name(work)} happened {count} times"


def of_parent(deed: Deed, parents: Mapping[str, str]) -> Deed:
    """The deed as one of the run that had it done."""
    return replace(deed, run=parents.get(deed.run, deed.run))


def statuses_of(
    runs: Iterable[Planned], rows: Mapping[str, str | None], ended: Collection[str]
) -> dict[str, str | None]:
    """How each run stands. One that the log does not know is judged only once Airflow has ended it."""
    unknown = {run.id: "never opened" if run.id in ended else "not yet opened" for run in runs}
    return {run: rows.get(run, unknown[run]) for run in unknown}


def ends(runs: Iterable[Planned], statuses: Mapping[str, str | None], deeds: Iterable[Deed]) -> Iterator[str]:
    """Runs that did not end as they may, or whose effects are not what their end says."""
    done: dict[str, list[Deed]] = {}
    for deed in deeds:
        done.setdefault(deed.run, []).append(deed)
    for run in runs:
        status, of_run = statuses[run.id], done.get(run.id, [])
        standing = {(deed.step, deed.index) for deed in of_run if deed.undone is None}
        if status == "succeeded":
            if run.fails:
                yield f"{run.id} succeeded and was meant to fail"
            if standing - OPTIONAL != set(run.effects):
                yield f"{run.id} succeeded, and of its {len(run.effects)} effects {len(standing)} are there"
        elif status == "failed" and standing - OPTIONAL == set(run.effects) and not run.fails:
            # A notice that was lost undoes nothing.
            continue
        elif status in ("compensated", "failed", "never opened"):
            yield from (f"{run.id} is {status}, and {_name((run.id, *work))} is still there" for work in standing)
        else:
            yield f"{run.id} is {status} in the end"


def begun_though_cancelled(streams: Mapping[str, Sequence[Event]], deeds: Iterable[Deed]) -> Iterator[str]:
    """Work that began after its run had been cancelled, and did something."""
    done = {deed.work for deed in deeds}
    for stream, events in streams.items():
        cancelled = _cancelled_at(events)
        if cancelled is None:
            continue
        first: dict[Work, int] = {}
        for event in events:
            if event.type == EventType.STEP_STARTED:
                first.setdefault((stream, event.data["step"], event.data["index"]), event.version)
        for work, version in first.items():
            if version > cancelled and work in done:
                yield f"{_name(work)} began after the run was cancelled"


def refused_though_approved(streams: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Questions that count as rejected: everybody who is asked in a campaign approves, and at once."""
    for stream, events in streams.items():
        for event in events:
            if event.type == EventType.APPROVAL_ANSWERED and not event.data["approved"]:
                yield f"{stream} {event.data['step']} was approved, and counts as rejected ({event.data['how']})"


def _cancelled_at(events: Iterable[Event]) -> int | None:
    return next((event.version for event in events if event.type == EventType.RUN_CANCEL_REQUESTED), None)


def reported(settled: Settled) -> Iterator[str]:
    """What the reconciler did not tell, and what it still tells when everybody has acted."""
    # Of a notice the outbox tells, not the ledger.
    told = {name for each in settled.found for name in (each.subject, f"notice/{each.subject}")}
    yield from (f"{run} was stuck, and the reconciler did not say so" for run in settled.stuck if run not in told)
    yield from (f"{key} was in doubt, and the reconciler did not say so" for key in settled.in_doubt if key not in told)
    yield from (f"the reconciler still says: {each.subject}: {each.message}" for each in settled.left if each.is_left)
    yield from settled.refused


def _projections(database: Database, streams: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    for stream, events in streams.items():
        if events:
            yield from (
                f"{stream}: {each.table} {each.row}.{each.column} is {each.stored!r}, the log says {each.derived!r}"
                for each in replay(database, stream).differences or ()
            )


def _leftovers(database: Database) -> Iterator[str]:
    for holder in Leases(database).held():
        if holder.expires_in > 0:
            yield f"the lease {holder.name} is still held by {holder.owner}"
    for entry in Ledger(database).entries(in_doubt=True, limit=10_000):
        yield f"the effect {entry.key} is still in doubt"


def _name(work: Work) -> str:
    run, step, index = work
    return f"{run} {step}" + ("" if index is None else f"[{index}]")
