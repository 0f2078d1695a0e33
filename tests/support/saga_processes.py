"""What processes do of a run when they are told to, and how they die: between two events, or just after an effect."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from muster.approvals import asking
from muster.database import Database
from muster.errors import TransientError
from muster.events.definitions import DefinitionStore
from muster.events.log import EventLog
from muster.execution import overtaken
from muster.execution.outcome import Outcome
from muster.execution.performing import begin, perform
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.language import sagas
from muster.language.definition import Definition
from muster.notifications import Sender
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_restart
from muster.recovery import effects
from muster.recovery.attempts import Superseded
from muster.rehearsal.faults import Crash, Faults, MortalLog
from muster.rehearsal.playing import NoModels
from muster.runs.opening import Opening, open_run
from muster.saga import unwinding
from muster.saga.closing import close_run
from muster.saga.resuming import resume
from support.sources import source_of

DEEDS = """
CREATE TABLE IF NOT EXISTS deeds (at bigserial, run text, what text, key text);
CREATE TABLE IF NOT EXISTS moods (run text, piece text, mood text, PRIMARY KEY (run, piece))
"""
SKILLS = source_of(__file__, "saga_processes")

_pause = effects._pause
CLAIM = 4.0
"""Seconds that what a dead process was at is left alone."""


class Death(NamedTuple):
    """At which append a process dies, counted from its first, and whether that is still written."""

    append: int
    after: bool


class Sagas:
    """The part of a process that performs, undoes and closes runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, site: str, run: str, definition: str, inputs: Mapping[str, Any]) -> str:
        """Open a run."""
        found = Definition.model_validate_json(definition)
        name = run.partition("/")[2]
        opening = Opening(
            run=run, dag_id=found.name, dag_run_id=name, definition=found, bundle_version=None, conf=inputs
        )
        return self._do(site, None, lambda services: _opened(services, opening))

    def waits(self, definition: str) -> Mapping[str, Sequence[str]]:
        """In which order it is undone."""
        return sagas.undone_after(Definition.model_validate_json(definition))

    def perform(self, site: str, ref: WorkRef, death: Death | None) -> str:
        """Perform one task instance's work: how it ended, `died` when the process did not survive it."""
        return self._do(site, death, lambda services: perform(services, ref))

    def answer(self, site: str, ref: WorkRef, death: Death | None, approved: bool) -> str:
        """Ask people and answer for them."""

        async def answered(services: Services) -> Outcome:
            begun = await begin(services, ref)
            if isinstance(begun, Outcome):
                return begun
            await asking.request(services, begun)
            await asking.answer(services, begun, approved=approved, by="boss")
            return await begin(services, ref)  # type: ignore[return-value]

        return self._do(site, death, answered)

    def begin(self, site: str, ref: WorkRef, death: Death | None, states: Mapping[str, str]) -> str:
        """Decide whether the run is undone."""
        return self._do(site, death, lambda services: unwinding.begin(services, ref, states))

    def compensate(self, site: str, ref: WorkRef, death: Death | None) -> str:
        """Undo one step."""
        return self._do(site, death, lambda services: unwinding.compensate(services, ref))

    def close(self, site: str, ref: WorkRef, death: Death | None, states: Mapping[str, str]) -> str:
        """Close the run."""
        return self._do(site, death, lambda services: close_run(services, ref, states))

    def cancel(self, run: str) -> None:
        """A person cancels it."""
        request_cancel(EventLog(self._database), run, by="ann")

    def resume(self, run: str, by_hand: bool) -> None:
        """A person says that undoing goes on."""
        resume(EventLog(self._database), run, by="ann", by_hand=by_hand)

    def restart(self, run: str, step: str) -> Sequence[str]:
        """A person has it done again from a step on; the steps that are."""
        log = EventLog(self._database)
        plan = plan_restart(log, DefinitionStore(self._database), run, step, by="ann")
        order(log, plan)
        return plan.steps

    def _do(self, site: str, death: Death | None, work: Callable[[Services], Awaitable[Outcome | str]]) -> str:
        """Have a process of its own do it, so that one that dies leaves what it held, and knows nothing afterwards.

        Raises:
            RuntimeError: it ended with an error.
        """
        read, write = os.pipe()
        if not (child := os.fork()):
            # Nothing of what this process shares with its parent may be ended by it.
            try:
                os.write(write, asyncio.run(_done(self._database.dsn, Path(site), death, work)).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        if answer.startswith("!"):
            raise RuntimeError(answer)
        return answer or "died"


async def _done(dsn: str, site: Path, death: Death | None, work: Callable[[Services], Awaitable[Outcome | str]]) -> str:
    when = "after" if death is not None and death.after else "before"
    database = Database(dsn)
    # For what other properties play with time stands still; here what another process is at is waited for.
    effects._pause = _pause
    effects.IdempotentEffect.__init__.__kwdefaults__.update(patience=CLAIM, grace=1.0)
    overtaken.LONGEST_WAIT, overtaken.LOOK = 2.0, 0.1
    try:
        faults = Faults(crash=None if death is None else death.append, when=when)
        outcome = await work(_services(database, site, faults))
        await database.aclose()
    except Crash:
        os._exit(1)
    except TransientError as error:
        if isinstance(error, overtaken.Overtaken) or isinstance(error.__cause__, Superseded):
            # Another process has taken the place of this one, or has closed the run: nothing was written here, and the
            # task is performed again as if this process had died. Nobody waits here for as long as in earnest.
            os._exit(1)
        return f"!{type(error).__name__}: {error}"
    except Exception as error:
        return f"!{type(error).__name__}: {error}"
    return outcome if isinstance(outcome, str) else outcome.status


async def _opened(services: Services, opening: Opening) -> str:
    await open_run(services, opening)
    return "succeeded"


def _services(database: Database, site: Path, faults: Faults) -> Services:
    return Services(
        database=database,
        log=MortalLog(database, faults, []),
        definitions=DefinitionStore(database),
        models=NoModels(),
        notices=Sender(database),
        artifacts=site / "artifacts",
        site=site / "include" / "skills",
    )
