"""Runs an automation in the domain alone: the steps in order, without Airflow, on a real database."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from muster.approvals import asking
from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.state import RunState, fold
from muster.execution.fanout import expand
from muster.execution.outcome import Outcome
from muster.execution.performing import begin, perform
from muster.execution.personal import RunLog
from muster.execution.references import WorkRef, run_id
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from muster.language.definition import Definition
from muster.notifications import Sender
from muster.rehearsal.player import Player
from muster.rehearsal.playing import NoModels
from muster.runs.opening import Opening, open_run

_numbers = itertools.count(1)
MASTER = bytes(range(32))
"""The master key of tests."""


class Site:
    """A folder of automations and skills, and the services to run them."""

    def __init__(self, folder: Path, database: Database, models: Any = None) -> None:
        self.include = folder / "include"
        (self.include / "automations").mkdir(parents=True)
        (self.include / "skills").mkdir()
        (self.include / "agents").mkdir()
        self.services = _services(database, folder / "artifacts", self.include / "skills", models)

    @classmethod
    def of(cls, include: Path, database: Database, artifacts: Path, models: Any = None) -> Site:
        """The site that a folder already is."""
        site = cls.__new__(cls)
        site.include = include
        site.services = _services(database, artifacts, include / "skills", models)
        return site

    def skills(self, name: str, source: str) -> None:
        """Write a site's skill file."""
        (self.include / "skills" / f"{name}.py").write_text(source)

    def agents(self, source: str) -> None:
        """Write the file of agents."""
        (self.include / "agents" / "all.yaml").write_text(source)

    def definition(self, source: str) -> Definition:
        """Load one automation; a problem fails the test with its text."""
        (self.include / "automations" / "tested.yaml").write_text(source)
        catalogue = load_folder(self.include)
        assert not catalogue.problems, "\n".join(str(problem) for problem in catalogue.problems)
        (definition,) = catalogue.definitions.values()
        return definition

    def open(self, definition: Definition, *, by: str | None = "requester", **inputs: Any) -> str:
        """Open a run and return its id."""
        dag_run_id = f"test__{next(_numbers)}"
        run = run_id(definition.name, dag_run_id)
        opening = Opening(
            run=run,
            dag_id=definition.name,
            dag_run_id=dag_run_id,
            definition=definition,
            bundle_version=None,
            conf=inputs,
            requested_by=by,
        )
        self.do(open_run(self.services, opening))
        return run

    def step(self, run: str, step: str, slot: int | None = None, **more: Any) -> Outcome:
        """Perform one task instance's work."""
        return self.do(perform(self.services, WorkRef(run=run, step=step, slot=slot, **more)))

    def expand(self, run: str, step: str, *, epoch: int = 0) -> int:
        """Lay out a fan-out; how many task instances it has."""
        return self.do(expand(self.services, WorkRef(run=run, step=step, epoch=epoch))).slots()

    def approve(
        self, run: str, step: str, *, by: str, approved: bool = True, slot: int | None = None, epoch: int = 0
    ) -> None:
        """A person's answer."""

        async def answered() -> None:
            work_item = await begin(self.services, WorkRef(run=run, step=step, slot=slot, epoch=epoch))
            assert isinstance(work_item, WorkItem)
            await asking.request(self.services, work_item)
            await asking.answer(self.services, work_item, approved=approved, by=by)

        self.do(answered())

    def all_of(self, run: str, step: str, **more: Any) -> list[Outcome]:
        """The work of all task instances of a step, in whichever shape it has; how each ended."""
        return [self.do(perform(self.services, task)) for task in self.tasks(run, step, **more)]

    def tasks(self, run: str, step: str, **more: Any) -> list[WorkRef]:
        """The task instances of a step, whose list is laid out."""
        return self.do(Played(self).tasks(WorkRef(run=run, step=step, **more)))

    def unwind(
        self, run: str, task_states: Mapping[str, str | None] | None = None, *, epoch: int = 0, only: Any = None
    ) -> str:
        """Undo the run as Airflow would: how that went. `only` names the tasks of a run that is resumed."""
        return self.do(Played(self).unwind(run, task_states or {}, epoch=epoch, only=only))

    def close(self, run: str, task_states: Mapping[str, str | None] | None = None, *, epoch: int = 0) -> Outcome:
        """Close the run."""
        return self.do(Played(self).close(run, task_states or {}, epoch=epoch))

    def run(self, definition: Definition, **inputs: Any) -> str:
        """Every step in order, as Airflow would do with nothing in its way."""
        run = self.open(definition, **inputs)
        for step in definition.steps:
            self.all_of(run, step.id)
        self.close(run)
        return run

    def state(self, run: str) -> RunState:
        """What the log says of the run."""
        return fold(self.services.log.read(run))

    def do(self, coroutine: Any) -> Any:
        """Run a coroutine and close the connections it opened."""
        return self.services.database.run(coroutine)


class Played(Player):
    """Plays the runs of a site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def services(self) -> Services:
        return self._site.services


def place(site: Site) -> tuple[Path, str, Path]:
    """What a process of its own is told of a site."""
    return site.include, site.services.database.dsn, site.services.artifacts


def started(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that has begun."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def perform_in_process(
    include: Path, dsn: str, artifacts: Path, run: str, step: str, slot: int | None, epoch: int = 0
) -> None:
    """One task instance's work, as the target of a process of its own."""
    Site.of(include, Database(dsn), artifacts).step(run, step, slot, epoch=epoch)


def undo_in_process(include: Path, dsn: str, artifacts: Path, run: str) -> None:
    """Undo a run whose step `work` has failed, as the target of a process of its own."""
    assert Site.of(include, Database(dsn), artifacts).unwind(run, {"work": "failed"}) == "succeeded"


def _services(database: Database, artifacts: Path, skills: Path, models: Any) -> Services:
    log = RunLog(database, lambda: MASTER)
    return Services(
        database=database,
        log=log,
        definitions=DefinitionStore(database),
        models=models or NoModels(),
        notices=Sender(database, seals=log.aseals),
        artifacts=artifacts,
        site=skills,
        readable=(skills.parent / "inbox", artifacts.parent),
    )
