"""A site whose work leaves marks and breaks where a file says so, and what Airflow does with a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muster.database import Database
from muster.language.definition import Definition
from muster.operations.redoing import Plan, order, plan_redrive, plan_restart
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "depot")
AUTOMATION = """
automation: tested
inputs: {{folder: {{type: string}}, names: {{type: array}}}}
steps:
  - {{id: first, skill: depot.work, with: {{name: first, folder: "{{{{ inputs.folder }}}}"}}}}
  - id: each
    each: "{{{{ inputs.names }}}}"
    pack: {pack}
    skill: depot.work
    with: {{name: "{{{{ item }}}}", folder: "{{{{ inputs.folder }}}}"}}
  - id: then
    each: "{{{{ steps.each }}}}"
    pack: {pack}
    skill: depot.work
    with: {{name: "{{{{ item }}}}", folder: "{{{{ inputs.folder }}}}"}}
  - {{id: last, skill: depot.work, with: {{name: last, folder: "{{{{ inputs.folder }}}}"}}}}
"""
NAMES = ["a", "b", "c", "d", "e"]


class Depot:
    """A site, and what was called there."""

    def __init__(self, folder: Path, database: Database, names: Sequence[str] = NAMES) -> None:
        self.names = list(names)
        self.folder = folder / "marks"
        self.folder.mkdir()
        self.site = Site(folder, database)
        self.site.skills("depot", SKILLS)

    def run(self, pack: Any, *broken: str) -> str:
        """A run in which these are broken, which are mended afterwards."""
        for name in broken:
            (self.folder / f"{name}.broken").touch()
        self.definition = self.site.definition(AUTOMATION.format(pack=pack))
        run = self.site.run(self.definition, folder=str(self.folder), names=self.names)
        for name in broken:
            (self.folder / f"{name}.broken").unlink()
        self.called()
        return run

    def called(self) -> list[str]:
        """What was called since the last time, sorted."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return sorted(lines)

    def redrive(self, run: str, **work_items: list[int | None]) -> Plan:
        """Plan and order."""
        plan = plan_redrive(self.site.services.log, self.site.services.definitions, run, work_items, by="ada")
        order(self.site.services.log, plan)
        return plan

    def restart(self, run: str, step: str) -> Plan:
        """Plan and order."""
        plan = plan_restart(self.site.services.log, self.site.services.definitions, run, step, by="ada")
        order(self.site.services.log, plan)
        return plan

    def perform(self, run: str, plan: Plan, epoch: int = 1, steps: Sequence[str] | None = None) -> None:
        """Do what Airflow does once the plan's tasks are cleared, or only these steps of it."""
        tasks = plan.tasks(airflow_tasks(self.definition))
        for step in self.definition.steps:
            if steps is not None and step.id not in steps:
                continue
            slots = [slot for name, slot in plan.slots if name == step.id]
            if step.id in tasks and (step.each is None or step.pack == "all"):
                self.site.step(run, step.id, epoch=epoch)
            elif step.id in tasks:
                slots = list(range(self.site.expand(run, step.id, epoch=epoch)))
            for slot in slots:
                self.site.step(run, step.id, slot, epoch=epoch)
        if steps is None:
            self.site.close(run, epoch=epoch)


def airflow_tasks(definition: Definition) -> list[str]:
    """The task ids of a run."""
    mapped = [f"{step.id}.items" for step in definition.steps if step.each is not None and step.pack != "all"]
    return ["open", *mapped, *(step.id for step in definition.steps), "unwind.begin", "close"]
