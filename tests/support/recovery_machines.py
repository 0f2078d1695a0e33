"""What leases, effects and breakers promise, as models that hypothesis plays against several real processes."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import uuid4

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from muster.recovery.breakers import Permit, Policy
from muster.recovery.leases import Lease
from support.recovery_processes import WORLD, Processes
from support.waiting import eventually

NAMES = ("a", "m", "z")
SOME_NAMES = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
WHICH = st.integers(0, 2)
FENCED = ("write_fenced", "begin_fenced")
WRITING = st.sampled_from(["write_as", "begin_as"])
ANY = st.integers(0, 1_000)
"""Which of those there are, whatever their number."""


class Machine(RuleBasedStateMachine):
    """A model with real processes beside it."""

    processes: ClassVar[Processes]
    connection: ClassVar[psycopg.Connection]

    @initialize()
    def begin(self) -> None:
        self.prefix = uuid4().hex

    def ask(self, which: int, what: str, *arguments: Any) -> tuple[Any, str | None]:
        return self.processes.ask(which, what, *arguments)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


class LeasesMachine(Machine):
    """At most one holder of a name, tokens that only grow, and a loss that everybody notices."""

    @initialize()
    def begin_leases(self) -> None:
        self.holder: dict[str, Lease] = {}
        self.seen: dict[str, int] = defaultdict(int)
        self.leases: list[Lease] = []

    def full(self, names: list[str]) -> list[str]:
        return [f"{self.prefix}/{name}" for name in names]

    def is_held(self, lease: Lease) -> bool:
        return all(self.holder.get(name) is lease for name in lease.tokens)

    def granted(self, lease: Lease, names: list[str]) -> None:
        assert list(lease.tokens) == sorted(self.full(names))
        for name, token in lease.tokens.items():
            assert token > self.seen[name], "tokens of a name only grow"
            self.seen[name] = token
            self.holder[name] = lease
        self.leases.append(lease)

    @rule(which=WHICH, names=SOME_NAMES)
    def acquire(self, which: int, names: list[str]) -> None:
        free = not any(name in self.holder for name in self.full(names))
        lease, error = self.ask(which, "acquire", self.full(names))
        assert error == (None if free else "LeaseTaken")
        if lease is not None:
            self.granted(lease, names)

    @rule(wanted=st.lists(SOME_NAMES, min_size=3, max_size=3))
    def acquire_at_once(self, wanted: list[list[str]]) -> None:
        held = set(self.holder)
        answers = self.processes.at_once("acquire", lambda which: (self.full(wanted[which]),))
        for (lease, error), names in zip(answers, wanted, strict=True):
            assert error in (None, "LeaseTaken")
            if lease is not None:
                assert not any(name in self.holder for name in self.full(names)), "one holder of a name at a time"
                self.granted(lease, names)
        if not held:
            assert any(lease is not None for lease, _ in answers), "of those who want what is free one gets it"

    @rule()
    def acquire_crosswise(self) -> None:
        """Two come from both ends while the middle is locked: in any order but one they would wait in a circle."""
        names = self.full(list(NAMES))
        if any(name in self.holder for name in names):
            return
        lease, error = self.ask(0, "acquire", names)
        assert error is None
        self.granted(lease, list(NAMES))
        self.end_of(lease)
        assert self.ask(0, "release", lease) == (True, None)
        with self.connection.transaction():
            self.sql("SELECT 1 FROM leases WHERE name = %s FOR UPDATE", names[1])
            self.processes.send(0, "acquire", names)
            self.processes.send(1, "acquire", names[::-1])
            assert eventually(lambda: self.waiting() == 2)
        answers = [self.processes.answer(0), self.processes.answer(1)]
        assert sorted(error or "" for _, error in answers) == ["", "LeaseTaken"], "nobody waits in a circle"
        self.granted(next(lease for lease, _ in answers if lease is not None), list(NAMES))

    def waiting(self) -> int:
        with psycopg.connect(self.processes.dsn) as other:
            row = other.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ).fetchone()
        return row[0] if row else 0

    @rule(number=ANY, which=WHICH, what=st.sampled_from(["renew", "release", "is_held", *FENCED]))
    def use(self, number: int, which: int, what: str) -> None:
        if not self.leases:
            return
        lease = self.leases[number % len(self.leases)]
        held = self.is_held(lease)
        answer, error = self.ask(which, what, lease)
        if what in ("renew", *FENCED):
            assert error == (None if held else "LeaseLost")
        else:
            assert (answer, error) == (held, None)
        if what == "release":
            self.end_of(lease)

    @rule(name=st.sampled_from(NAMES))
    def run_out(self, name: str) -> None:
        [full] = self.full([name])
        self.sql("UPDATE leases SET expires_at = clock_timestamp() WHERE name = %s AND owner IS NOT NULL", full)
        self.holder.pop(full, None)

    def end_of(self, lease: Lease) -> None:
        for name in [name for name, holder in self.holder.items() if holder is lease]:
            del self.holder[name]

    @invariant()
    def nothing_else_is_held(self) -> None:
        if hasattr(self, "leases"):
            held = self.sql(
                "SELECT name FROM leases WHERE expires_at > clock_timestamp() AND name LIKE %s", f"{self.prefix}/%"
            )
            assert {name for (name,) in held} == set(self.holder)


class EffectsMachine(Machine):
    """What happened outside happens once, every attempt is told of it, and doubt is never taken for an answer."""

    @initialize()
    def begin_effects(self) -> None:
        self.sql(WORLD)
        self.state: dict[str, str] = defaultdict(lambda: "new")
        self.amount: dict[str, int] = {}
        self.result: dict[str, int] = {}
        self.count: Counter[str] = Counter()
        self.inside: dict[int, tuple[int, str]] = {}
        self.holds: dict[str, int] = {}
        self.acted: set[int] = set()

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    @rule(
        which=WHICH,
        name=st.sampled_from(["x", "y"]),
        amount=st.sampled_from([1, 1, 1, 2]),
        how=st.sampled_from(["ok", "refused", "lost"]),
        find_out=st.sampled_from(["truth", "cannot"]),
    )
    def perform(self, which: int, name: str, amount: int, how: str, find_out: str) -> None:
        key = self.key(name)
        answer, error = self.ask(which, "perform", key, amount, how, find_out)
        if (ended := self.before(key, amount, find_out)) is not None:
            assert error == (ended if ended != "done" else None)
            assert ended != "done" or answer == self.result[key], "every attempt is given the first result"
        else:
            assert error == {"ok": None, "refused": "PermanentError", "lost": "TransientError"}[how]
            self.count[key] += how != "refused"
            self.settled(key, {"ok": "done", "refused": "failed", "lost": "unknown"}[how], answer)

    def before(self, key: str, amount: int, find_out: str) -> str | None:
        """How an attempt ends before it acts; None when it is to act."""
        if self.state[key] in ("new", "failed"):
            self.amount[key] = amount
        elif amount != self.amount[key]:
            return "EffectConflict"
        if self.state[key] == "begun":
            return "Busy"
        if self.state[key] == "unknown":
            self.holds.pop(key, None)
            if find_out == "cannot":
                return "OutcomeUnknown"
            if self.count[key]:
                self.settled(key, "done", 101)
        return "done" if self.state[key] == "done" else None

    def settled(self, key: str, state: str, result: Any = None) -> None:
        self.state[key] = state
        self.holds.pop(key, None)
        if state == "done":
            self.result.setdefault(key, result)

    @rule(number=ANY, which=WHICH, name=st.sampled_from(["x", "y"]), find_out=st.sampled_from(["truth", "cannot"]))
    def enter(self, number: int, which: int, name: str, find_out: str) -> None:
        key = self.key(name)
        if number in self.inside:
            return
        amount = self.amount.get(key, 1)
        happened, error = self.ask(which, "enter", number, key, amount, find_out)
        if (ended := self.before(key, amount, find_out)) is not None:
            assert (happened, error) == ((True, None) if ended == "done" else (None, ended))
        else:
            assert (happened, error) == (False, None)
            self.state[key], self.holds[key], self.inside[number] = "begun", number, (which, key)

    @rule(number=ANY)
    def act(self, number: int) -> None:
        """A slow attempt acts while it holds the claim; past that, acting twice is what its patience forbids."""
        ready = [
            each
            for each, (_, key) in self.inside.items()
            if self.holds.get(key) == each and self.state[key] == "begun" and each not in self.acted
        ]
        if ready:
            self.act_as(ready[number % len(ready)])

    def act_as(self, chosen: int) -> None:
        which, key = self.inside[chosen]
        self.ask(which, "act", chosen, key)
        self.count[key] += 1
        self.acted.add(chosen)

    @rule(number=ANY)
    def leave(self, number: int) -> None:
        if self.inside:
            self.leave_as(sorted(self.inside)[number % len(self.inside)])

    def leave_as(self, chosen: int) -> None:
        which, key = self.inside.pop(chosen)
        if chosen in self.acted:
            self.acted.discard(chosen)
            answer, error = self.ask(which, "leave", chosen, "ok")
            self.settled(key, "done", 1)
            assert (answer, error) == (self.result[key], None)
        else:
            assert self.ask(which, "leave", chosen, "refused")[1] is None
            if self.holds.get(key) == chosen:
                self.settled(key, "failed")

    @rule(number=ANY)
    def somebody_finds_out_what_a_slow_one_did(self, number: int) -> None:
        name = f"slow {number}"
        key = self.key(name)
        if key in self.amount or number in self.inside:
            return
        self.enter(number, 0, name, "truth")
        self.act_as(number)
        self.time_passes(name)
        self.perform(1, name, 1, "ok", "truth")
        self.leave_as(number)
        self.perform(2, name, 1, "ok", "truth")

    @rule(number=ANY)
    def who_was_overtaken_gives_up_while_the_next_one_is_at_it(self, number: int) -> None:
        name = f"overtaken {number}"
        if self.key(name) in self.amount or number in self.inside or number + 1 in self.inside:
            return
        self.enter(number, 0, name, "truth")
        self.time_passes(name)
        self.enter(number + 1, 1, name, "truth")
        self.leave_as(number)
        self.perform(2, name, 1, "ok", "truth")

    @rule(number=ANY)
    def a_slow_one_lives_on(self, number: int) -> None:
        name = f"renewed {number}"
        if self.key(name) in self.amount or number in self.inside:
            return
        self.enter(number, 0, name, "truth")
        key = self.key(name)
        self.sql("UPDATE effects SET claimed_until = clock_timestamp() + interval '1 s' WHERE key = %s", key)
        assert self.ask(0, "renew_claim", number)[1] is None
        left = self.sql("SELECT extract(epoch FROM claimed_until - clock_timestamp()) FROM effects WHERE key = %s", key)
        assert left[0][0] > 60, "a claim is renewed while its attempt lives"
        self.leave_as(number)

    @rule(name=st.sampled_from(["x", "y"]))
    def time_passes(self, name: str) -> None:
        """The claim of an attempt that was killed, or is too slow, runs out."""
        key = self.key(name)
        self.sql("UPDATE effects SET claimed_until = clock_timestamp() WHERE key = %s AND status = 'begun'", key)
        if self.state[key] == "begun":
            self.state[key] = "unknown"

    @rule(number=ANY)
    def perform_at_once(self, number: int) -> None:
        key = self.key(f"race {number}")
        if key in self.amount:
            return
        self.amount[key] = 1
        answers = self.processes.at_once("perform", lambda _: (key, 1, "ok", "truth"))
        assert all(error in (None, "Busy") for _, error in answers)
        assert [answer for answer, error in answers if error is None] == [1] * sum(e is None for _, e in answers)
        self.count[key] = 1
        self.settled(key, "done", 1)

    @rule(which=WHICH, number=ANY, lost=st.booleans())
    def perform_under_a_lease(self, which: int, number: int, lost: bool) -> None:
        key = self.key(f"leased {number}")
        if key in self.amount:
            return
        self.amount[key] = 1
        lease, _ = self.ask(which, "acquire", [key])
        if lost:
            self.sql("UPDATE leases SET expires_at = clock_timestamp() WHERE name = %s", key)
        answer, error = self.ask(which, "perform_under", lease, key)
        assert (answer, error) == ((None, "LeaseLost") if lost else (1, None))
        self.count[key] = int(not lost)

    @invariant()
    def what_happened_happened_once(self) -> None:
        if hasattr(self, "count"):
            rows = self.sql("SELECT key, count(*) FROM world WHERE key LIKE %s GROUP BY key", f"{self.prefix}/%")
            assert dict(rows) == {key: number for key, number in self.count.items() if number}
            assert all(number <= 1 for _, number in rows), "nothing happens twice"


class AttemptsMachine(Machine):
    """Of the attempts at a work item the latest that has shown itself may write, and none before it."""

    @initialize()
    def begin_attempts(self) -> None:
        self.latest: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    def shown(self, work: str, place: tuple[int, int]) -> bool:
        if place < self.latest[work]:
            return False
        self.latest[work] = place
        return True

    @rule(
        which=WHICH,
        what=WRITING,
        name=st.sampled_from(["x", "y"]),
        execution=st.integers(1, 4),
        number=st.integers(1, 3),
    )
    def write(self, which: int, what: str, name: str, execution: int, number: int) -> None:
        work = f"{self.prefix}/{name}"
        _, error = self.ask(which, what, work, execution, number)
        assert error == (None if self.shown(work, (execution, number)) else "AttemptRevoked")

    @rule(which=WHICH, name=st.sampled_from(["x", "y"]), execution=st.integers(1, 4), number=st.integers(1, 3))
    def advance(self, which: int, name: str, execution: int, number: int) -> None:
        work = f"{self.prefix}/{name}"
        assert self.ask(which, "advance_to", work, execution, number) == (self.shown(work, (execution, number)), None)

    @rule(what=WRITING, name=st.sampled_from(["x", "y"]), execution=st.integers(1, 4))
    def write_at_once(self, what: str, name: str, execution: int) -> None:
        work = f"{self.prefix}/{name}"
        before = self.latest[work]
        answers = self.processes.at_once(what, lambda which: (work, execution, which + 1))
        for number, (_, error) in enumerate(answers, 1):
            assert error in (None, "AttemptRevoked")
            assert error is not None or (execution, number) >= before, "a revoked attempt writes nothing"
        if (execution, 3) >= before:
            assert answers[2][1] is None, "the latest is refused by nobody"
            self.latest[work] = (execution, 3)

    @invariant()
    def the_latest_is_kept(self) -> None:
        if hasattr(self, "latest"):
            rows = self.sql("SELECT work, execution, attempt FROM attempts WHERE work LIKE %s", f"{self.prefix}/%")
            assert {work: (e, a) for work, e, a in rows} == {w: p for w, p in self.latest.items() if p != (0, 0)}


class BreakersMachine(Machine):
    """Open after so many failures in a row, one probe at a time, and nothing old has a say."""

    policy: ClassVar[Policy] = Policy(failures=3, open_seconds=3600, probe_seconds=3600)

    @initialize()
    def begin_breakers(self) -> None:
        self.state, self.failures, self.generation, self.due = "closed", 0, 0, False
        self.permits: list[tuple[Permit, int]] = []

    @property
    def name(self) -> str:
        return f"tier:{self.prefix}"

    def change(self, state: str, failures: int = 0) -> None:
        self.state, self.failures, self.due = state, failures, False
        self.generation += 1

    def admitted(self, permit: Permit) -> None:
        assert permit.is_probe == (self.state != "closed")
        if permit.is_probe:
            assert self.due, "one call at a time probes, and none before its time"
            self.change("half_open", self.failures)
        self.permits.append((permit, self.generation))

    @rule(which=WHICH)
    def admit(self, which: int) -> None:
        permit, error = self.ask(which, "admit", self.name, self.policy)
        assert error == (None if self.state == "closed" or self.due else "BreakerOpen")
        if permit is not None:
            self.admitted(permit)

    @rule()
    def fail_until_it_opens(self) -> None:
        while self.state == "closed":
            self.admit(0)
            self.report(len(self.permits) - 1, 0, "failed")

    @rule(which=WHICH)
    def a_success_comes_after_a_failure(self, which: int) -> None:
        """Both were let through before the failure, while nothing had failed."""
        if self.state == "closed":
            self.admit(which)
            self.admit(0)
            self.report(len(self.permits) - 1, 0, "failed")
            self.report(len(self.permits) - 1, which, "succeeded")

    @rule(how=st.sampled_from(["failed", "succeeded"]))
    def a_probe_that_died_speaks_after_the_next_has_begun(self, how: str) -> None:
        self.fail_until_it_opens()
        for which in (0, 1):
            self.time_passes()
            self.admit(which)
        self.report(len(self.permits) - 2, 0, how)

    @rule()
    def admit_at_once(self) -> None:
        expected = 3 if self.state == "closed" else int(self.due)
        answers = self.processes.at_once("admit", lambda _: (self.name, self.policy))
        assert sum(error is None for _, error in answers) == expected, "one call at a time probes"
        for permit, _ in answers:
            if permit is not None:
                self.admitted(permit)

    @rule(number=ANY, which=WHICH, how=st.sampled_from(["failed", "failed", "succeeded", "withdrawn"]))
    def report(self, number: int, which: int, how: str) -> None:
        if not self.permits:
            return
        permit, generation = self.permits.pop(number % len(self.permits))
        if how == "withdrawn":
            self.ask(which, "withdraw", permit)
        else:
            self.ask(which, "report", permit, self.policy, how == "failed")
        if generation != self.generation or self.state == "open":
            return
        if how == "withdrawn":
            self.due = self.state == "half_open"
        elif how == "failed" and (self.state == "half_open" or self.failures + 1 >= self.policy.failures):
            self.change("open", self.failures + 1)
        elif how == "failed":
            self.failures += 1
        elif self.state == "half_open":
            self.change("closed")
        else:
            self.failures = 0

    @rule()
    def time_passes(self) -> None:
        """An open breaker may be probed, and a probe has taken too long."""
        for state, until in (("open", "open_until"), ("half_open", "probe_until")):
            self.sql(
                f"UPDATE breakers SET {until} = clock_timestamp() WHERE name = %s AND state = %s", self.name, state
            )
        self.due = self.state != "closed"

    @rule(which=WHICH)
    def reset(self, which: int) -> None:
        if self.sql("SELECT 1 FROM breakers WHERE name = %s", self.name):
            self.ask(which, "reset", self.name)
            self.change("closed")

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if hasattr(self, "permits"):
            rows = self.sql("SELECT state, failures FROM breakers WHERE name = %s", self.name)
            assert (rows or [("closed", 0)]) == [(self.state, self.failures)]


@contextmanager
def played_by(processes: Processes, machine: type[Machine]) -> Iterator[type[Machine]]:
    """The machine, with these processes to play against."""
    with psycopg.connect(processes.dsn, autocommit=True) as connection:
        played = type(machine.__name__, (machine,), {"processes": processes, "connection": connection})
        yield played


def play(
    processes: Processes, machine: type[Machine], *, examples: int, shrink: bool, alike: bool = "CI" in os.environ
) -> None:
    """Let hypothesis look for a sequence in which the processes do not what the machine says.

    `alike`: it plays the same each time, as continuous integration does; else it looks further each time.

    Raises:
        AssertionError: it found one.
    """
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]
    with played_by(processes, machine) as played:
        run_state_machine_as_test(
            played,
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                deadline=None,
                database=None,
                derandomize=alike,
                phases=phases,
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            ),
        )
