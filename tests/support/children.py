"""Runs that ask for runs, in the domain alone: what Airflow would do for each of them, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.database import Database
from muster.events.state import RunState
from muster.execution.outcome import Outcome
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from muster.language.definition import Definition
from muster.runs.children import Child, ask_for
from muster.runs.following import Pace, follow
from muster.runs.opening import Opening, open_run
from support.runs import Site
from support.sources import source_of

PACE = Pace(first=0.01, longest=0.02, airflow=0.05, begins=3600)
"""So quickly does a test look; on a machine that has much to do, a run may begin late."""

SKILLS = source_of(__file__, "children")


def step(name: str, *, undo: bool = True, more: str = "") -> str:
    """A step that acts, and is undone."""
    back = f", compensate: {{skill: depot.undo, with: {{name: {name}}}, retry: {{times: 0}}}}" if undo else ""
    return f"  - {{id: {name}, skill: depot.act, with: {{name: {name}}}{back}{more}}}\n"


class Family:
    """A site with several automations."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        automations: Mapping[str, str],
        *,
        models: Any = None,
        skills: Mapping[str, str] | None = None,
        agents: str | None = None,
    ) -> None:
        self.site = Site(folder, database, models)
        for name, source in {"depot": SKILLS, **(skills or {})}.items():
            self.site.skills(name, source)
        if agents is not None:
            self.site.agents(agents)
        for name, source in automations.items():
            (self.site.include / "automations" / f"{name}.yaml").write_text(f"automation: {name}\n{source}")
        catalogue = load_folder(self.site.include)
        assert not catalogue.problems, "\n".join(str(problem) for problem in catalogue.problems)
        self.definitions: Mapping[str, Definition] = catalogue.definitions
        from muster.skills.registry import get_skill

        get_skill("depot.act", self.site.services.site)

    @property
    def depot(self) -> Any:
        """The skills' module, with what was done."""
        import sys

        return sys.modules["muster_site.depot"]

    def open(self, name: str, **inputs: Any) -> str:
        """Open a run that a person asked for."""
        return self.site.open(self.definitions[name], **inputs)

    def ask(self, run: str, step: str, slot: int | None = None, *, epoch: int = 0) -> Child:
        """What the task process does: the piece begins, and the run is asked for."""
        return self.work_item(run, step, slot, epoch=epoch)[1]

    def work_item(self, run: str, step: str, slot: int | None = None, *, epoch: int = 0) -> tuple[WorkItem, Child]:
        """The piece, and the run it asks for."""

        async def asked() -> tuple[WorkItem, Child]:
            work_item = await begin(self.site.services, WorkRef(run=run, step=step, slot=slot, epoch=epoch))
            assert isinstance(work_item, WorkItem), work_item
            return work_item, await ask_for(self.site.services, work_item)

        found: tuple[WorkItem, Child] = self.site.do(asked())
        return found

    def follow(
        self,
        run: str,
        step: str,
        slot: int | None = None,
        *,
        epoch: int = 0,
        airflow: str | None = "running",
        pace: Pace = PACE,
    ) -> Outcome:
        """What the triggerer does, while Airflow says that the run is in this state."""

        async def state(dag_id: str, run_id: str) -> str | None:
            return airflow

        ref = WorkRef(run=run, step=step, slot=slot, epoch=epoch)
        outcome: Outcome = self.site.do(follow(self.site.services, ref, state, pace))
        return outcome

    def begin(self, child: Child, *, by: str | None = "requester", version: str | None = None) -> str:
        """Airflow starts the run, and it opens."""
        opening = Opening(
            run=child.run,
            dag_id=child.automation,
            dag_run_id=child.dag_run_id,
            definition=self.definitions[child.automation],
            bundle_version=version,
            conf=child.conf,
            requested_by=by,
            trigger="operator_triggered",
        )
        self.site.do(open_run(self.site.services, opening))
        return child.run

    def play(self, run: str, *, epoch: int = 0) -> RunState:
        """Every step of a run that is open, its children with it, to its end."""
        definition = self.definitions[run.partition("/")[0]]
        for one in definition.steps:
            if one.kind != "run":
                self.site.step(run, one.id, epoch=epoch)
            elif self.site.state(run).step(definition.steps[0].id).status != "failed":
                self.child(run, one.id, epoch=epoch)
        return self.finish(run, epoch=epoch)

    def child(self, run: str, step: str, *, epoch: int = 0) -> str:
        """A step that asks for a run, with that run, to its end."""
        child = self.ask(run, step, epoch=epoch)
        self.play(self.begin(child))
        self.follow(run, step, epoch=epoch)
        return child.run

    def finish(self, run: str, *, epoch: int = 0) -> RunState:
        """Undo what has to be undone, and close."""
        self.site.unwind(run, epoch=epoch)
        self.site.close(run, epoch=epoch)
        return self.site.state(run)

    def types(self, run: str) -> list[str]:
        """What happened to a run."""
        return [event.type for event in self.site.services.log.read(run)]
