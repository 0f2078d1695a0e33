"""Processes that do what they are told with leases, effects, breakers and runs, each on connections of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

import psycopg

from muster.database import Database
from muster.errors import MusterError, PermanentError, TransientError
from muster.events.driver import run
from muster.recovery import effects, renewing
from muster.recovery.attempts import Attempt
from muster.recovery.breakers import Breakers, Permit, Policy
from muster.recovery.fencing import FencedDatabase
from muster.recovery.holding import _under
from muster.recovery.leases import Lease, Leases
from muster.recovery.ledger import CANNOT_TELL, NEVER_HAPPENED, Effect, FindOut, Happened, Ledger
from support.mutations import MUTATIONS
from support.saga_processes import Sagas

LONG = 3600.0
"""Seconds of a lease or claim: time passes when the test says so."""
PATIENCE = 300.0
"""Seconds in which a process answers, however little of the machine it is given."""
WORLD = "CREATE TABLE IF NOT EXISTS world (key text, receipt int, PRIMARY KEY (key, receipt))"


class Busy(TransientError):
    """Another attempt is at it; in place of waiting for it."""


class Worker:
    """What one process can be told to do."""

    def __init__(self, dsn: str) -> None:
        self.database = Database(dsn)
        self.leases, self.ledger = Leases(self.database), Ledger(self.database)
        self.breakers = Breakers(self.database, cached=0)
        self.world = psycopg.connect(dsn, autocommit=True)
        self.inside: dict[int, effects.IdempotentEffect] = {}
        self.sagas = Sagas(self.database)
        self.bug = ExitStack()

    def saga(self, what: str, *arguments: Any) -> Any:
        """Do something about a run."""
        return getattr(self.sagas, what)(*arguments)

    def acquire(self, names: Sequence[str]) -> Lease:
        return self.leases.acquire(names, "somebody", ttl=LONG)

    def renew(self, lease: Lease) -> None:
        self.leases.renew(lease)

    def release(self, lease: Lease) -> bool:
        return self.leases.release(lease)

    def is_held(self, lease: Lease) -> bool:
        return self.leases.is_held(lease)

    def write_fenced(self, lease: Lease) -> None:
        """Write as work that is done under a lease."""
        self._write(Attempt(run="r", work=f"r/{uuid4()}", execution=1, number=1, leases=(lease,)))

    def begin_fenced(self, lease: Lease) -> None:
        """Begin an effect as work that is done under a lease."""
        self._begin(Attempt(run="r", work=f"r/{uuid4()}", execution=1, number=1, leases=(lease,)))

    def write_as(self, work: str, execution: int, number: int) -> None:
        """Write as an attempt."""
        self._write(Attempt(run="r", work=work, execution=execution, number=number))

    def begin_as(self, work: str, execution: int, number: int) -> None:
        """Begin an effect as an attempt."""
        self._begin(Attempt(run="r", work=work, execution=execution, number=number))

    def advance_to(self, work: str, execution: int, number: int) -> bool:
        """Let only this attempt, or a later one, write."""
        return run(self.database, Attempt(run="r", work=work, execution=execution, number=number).advance(number))

    def _write(self, attempt: Attempt) -> None:
        with FencedDatabase(self.database, attempt).connection() as connection:
            connection.execute("SELECT pg_current_xact_id()")

    def _begin(self, attempt: Attempt) -> None:
        key = f"as an attempt/{uuid4()}"
        try:
            Ledger(FencedDatabase(self.database, attempt)).begin(Effect.of(key, "charge", 1), LONG)
        except MusterError:
            assert not self.world.execute("SELECT 1 FROM effects WHERE key = %s", (key,)).fetchone(), "it was begun"
            raise

    def perform(self, key: str, amount: int, how: str, find_out: str) -> Any:
        """Perform an effect; `how`: it succeeds, is refused before it happens, or its answer is lost."""
        return self._once(key, amount, find_out).perform(lambda: self._act(key, how))

    def enter(self, number: int, key: str, amount: int, find_out: str) -> bool:
        """Begin an effect and stay in it, as a slow attempt does, or one that is killed; true when it happened."""
        once = self._once(key, amount, find_out)
        once.__enter__()
        if not once.happened:
            self.inside[number] = once
        return once.happened

    def act(self, number: int, key: str) -> None:
        """Perform what was begun, and write nothing down yet."""
        self.inside[number].result = self._act(key, "ok")

    def renew_claim(self, number: int) -> None:
        """Have the claim of a slow attempt renewed."""
        claim = self.inside[number]._kept
        assert claim is not None
        renewing.renew(self.database.dsn, [claim])

    def leave(self, number: int, how: str) -> Any:
        """Come to an end: done, or refused without anything having happened."""
        once = self.inside.pop(number)
        error = PermanentError("refused") if how == "refused" else None
        once.__exit__(type(error) if error else None, error, None)
        return once.result

    def perform_under(self, lease: Lease, key: str) -> Any:
        """Perform an effect as work that is done under a lease."""
        mark = _under.set(((self.leases, lease),))
        try:
            return self._once(key, 1, "truth").perform(lambda: self._act(key, "ok"))
        finally:
            _under.reset(mark)

    def admit(self, name: str, policy: Policy) -> Permit:
        return self.breakers.admit(name, policy)

    def report(self, permit: Permit, policy: Policy, failed: bool) -> None:
        self.breakers.report(permit, policy, TransientError("it failed") if failed else None)

    def withdraw(self, permit: Permit) -> None:
        self.breakers.withdraw(permit)

    def reset(self, name: str) -> None:
        self.breakers.reset(name)

    def put_back(self, bug: str | None) -> None:
        """Work with a bug from now on, in place of the one before, or with none."""
        self.bug.close()
        if bug is not None:
            self.bug.enter_context(MUTATIONS[bug].applied())

    def _once(self, key: str, amount: int, find_out: str) -> effects.IdempotentEffect:
        answers: dict[str, FindOut] = {
            "truth": lambda: self._truth(key),
            "cannot": lambda: CANNOT_TELL,
        }
        return effects.IdempotentEffect(self.ledger, Effect.of(key, "charge", amount), answers[find_out], patience=LONG)

    def _act(self, key: str, how: str) -> int:
        if how == "refused":
            raise PermanentError("refused")
        row = self.world.execute(
            "INSERT INTO world SELECT %(key)s, count(*) + 1 FROM world WHERE key = %(key)s RETURNING receipt",
            {"key": key},
        ).fetchone()
        assert row is not None
        if how == "lost":
            raise TransientError("the answer was lost")
        return int(row[0])

    def _truth(self, key: str) -> Any:
        row = self.world.execute("SELECT min(receipt) FROM world WHERE key = %s", (key,)).fetchone()
        assert row is not None
        # Another result than the one that was lost, to see which of the two counts.
        return Happened(100 + row[0]) if row[0] is not None else NEVER_HAPPENED


def serve(dsn: str, pipe: Connection) -> None:
    """Do what comes through the pipe until it is closed."""
    effects._pause = _never  # type: ignore[assignment]
    worker = Worker(dsn)
    while True:
        try:
            number, what, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((number, getattr(worker, what)(*arguments), None))
        except MusterError as error:
            pipe.send((number, None, "Deadlock" if "deadlock" in str(error) else type(error).__name__))
        except Exception as error:
            pipe.send((number, None, f"{type(error).__name__}: {error}"))


def _never(*_: Any) -> float:
    raise Busy("another attempt is at it")


class Processes:
    """Several such processes; a context manager."""

    def __init__(self, dsn: str, count: int = 3) -> None:
        self.dsn = dsn
        self._numbers = [0] * count
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(dsn, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def ask(self, which: int, what: str, *arguments: Any) -> tuple[Any, str | None]:
        """Have one of them do something; what it gave back, or the name of the error."""
        self.send(which, what, *arguments)
        return self.answer(which)

    def send(self, which: int, what: str, *arguments: Any) -> None:
        """Tell one of them to do something and go on."""
        self._numbers[which] += 1
        self._pipes[which].send((self._numbers[which], what, arguments))

    def answer(self, which: int) -> tuple[Any, str | None]:
        """What came of the last thing it was told."""
        while True:
            assert self._pipes[which].poll(PATIENCE), "a process does not answer"
            number, result, error = self._pipes[which].recv()
            # A promise that broke half-way may have left an answer that nobody took.
            if number == self._numbers[which]:
                return result, error

    def at_once(self, what: str, arguments: Callable[[int], tuple[Any, ...]]) -> list[tuple[Any, str | None]]:
        """Have all of them do the same at once."""
        for which in range(len(self._pipes)):
            self.send(which, what, *arguments(which))
        return [self.answer(which) for which in range(len(self._pipes))]

    def __len__(self) -> int:
        return len(self._pipes)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
