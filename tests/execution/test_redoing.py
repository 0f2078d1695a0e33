"""Promises of doing work again: exactly the dead letters, or a run from a step on, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.execution.redoing import Plan, order, plan_discard, plan_redrive, plan_restart
from muster.language.definition import Definition
from support.runs import Site

SKILLS = '''
from pathlib import Path
from muster.errors import PermanentError
from muster.skills import SkillContext, skill

@skill("depot.work", lane="async")
async def work(name: str, folder: str, context: SkillContext) -> str:
    """Notes that it was called, and breaks while there is a file that says so."""
    with (Path(folder) / "calls").open("a") as calls:
        calls.write(f"{context.step} {name}\\n")
    if (Path(folder) / f"{name}.broken").exists():
        raise PermanentError(f"{name} is broken")
    return name
'''
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

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder / "marks"
        self.folder.mkdir()
        self.site = Site(folder, database)
        self.site.skills("depot", SKILLS)

    def run(self, pack: Any, *broken: str) -> str:
        """A run in which these are broken, which are mended afterwards."""
        for name in broken:
            (self.folder / f"{name}.broken").touch()
        self.definition = self.site.definition(AUTOMATION.format(pack=pack))
        run = self.site.run(self.definition, folder=str(self.folder), names=NAMES)
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

    def redrive(self, run: str, **pieces: list[int | None]) -> Plan:
        """Plan and order."""
        plan = plan_redrive(self.site.services.log, self.site.services.definitions, run, pieces, by="ada")
        order(self.site.services.log, plan)
        return plan

    def restart(self, run: str, step: str) -> Plan:
        """Plan and order."""
        plan = plan_restart(self.site.services.log, self.site.services.definitions, run, step, by="ada")
        order(self.site.services.log, plan)
        return plan

    def perform(self, run: str, plan: Plan, epoch: int = 1) -> None:
        """Do what Airflow does once the plan's tasks are cleared."""
        tasks = plan.tasks(airflow_tasks(self.definition))
        for step in self.definition.steps:
            slots = [slot for name, slot in plan.slots if name == step.id]
            if step.id in tasks and (step.each is None or step.pack == "all"):
                self.site.step(run, step.id, epoch=epoch)
            elif step.id in tasks:
                slots = list(range(self.site.expand(run, step.id, epoch=epoch)))
            for slot in slots:
                self.site.step(run, step.id, slot, epoch=epoch)
        self.site.close(run, epoch=epoch)


def airflow_tasks(definition: Definition) -> list[str]:
    """The task ids of a run."""
    mapped = [f"{step.id}.items" for step in definition.steps if step.each is not None and step.pack != "all"]
    return ["open", *mapped, *(step.id for step in definition.steps), "unwind.begin", "close"]


@pytest.fixture
def depot(tmp_path: Path, database: Database) -> Depot:
    """The site."""
    return Depot(tmp_path, database)


@pytest.mark.parametrize("pack", [1, 2, "all"])
def test_redriving_an_item_repeats_that_item_and_nothing_else_of_any_list(depot: Depot, pack: Any) -> None:
    run = depot.run(pack, "b", "e")
    assert depot.site.state(run).status == "failed"
    plan = depot.redrive(run, each=[1])
    depot.perform(run, plan)
    assert depot.called() == ["each b", "last last", "then b"]
    state = depot.site.state(run)
    assert state.step("each").output == ["a", "b", "c", "d", None]
    assert state.step("then").output == ["a", "b", "c", "d", None]
    assert (state.status, state.counts["failed"]) == ("failed", 1), "e has failed, and nobody did it again"

    depot.perform(run, depot.redrive(run, each=[4]), epoch=2)
    assert depot.called() == ["each e", "last last", "then e"]
    assert depot.site.state(run).status == "succeeded"


def test_only_the_item_s_own_task_is_cleared_in_its_step_and_all_after_it(depot: Depot) -> None:
    run = depot.run(2, "e")
    plan = depot.redrive(run, each=[4])
    assert plan.tasks(airflow_tasks(depot.definition)) == [
        "close",
        "last",
        "then",
        "then.items",
        "unwind.begin",
        ("each", 2),
    ]


def test_a_list_of_which_everything_failed_is_laid_out_anew_after_it(depot: Depot) -> None:
    run = depot.run(1, *NAMES)
    depot.perform(run, depot.redrive(run, each=[0, 3]))
    assert depot.called() == ["each a", "each d", "last last", "then a", "then d"]
    assert depot.site.state(run).step("each").status == "succeeded"


def test_an_item_may_fail_again_and_be_redriven_again(depot: Depot) -> None:
    run = depot.run(1, "b")
    (depot.folder / "b.broken").touch()
    depot.perform(run, depot.redrive(run, each=[1]))
    state = depot.site.state(run)
    assert (state.status, state.step("each").work(1).decision) == ("failed", None)
    (depot.folder / "b.broken").unlink()
    depot.perform(run, depot.redrive(run, each=[1]), epoch=2)
    assert depot.site.state(run).status == "succeeded"


def test_what_is_cleared_without_a_redrive_is_done_again_as_a_whole(depot: Depot) -> None:
    run = depot.run(1, "b")
    depot.perform(run, depot.redrive(run, each=[1]))
    depot.called()
    for slot in range(depot.site.expand(run, "each", epoch=2)):
        depot.site.step(run, "each", slot, epoch=2)
    assert depot.called() == [f"each {name}" for name in NAMES]


def test_a_restart_does_the_step_and_everything_after_it_again(depot: Depot) -> None:
    run = depot.run(1, "b")
    depot.perform(run, depot.restart(run, "each"))
    assert depot.called() == [*(f"each {n}" for n in NAMES), "last last", *(f"then {n}" for n in NAMES)]
    state = depot.site.state(run)
    assert (state.status, state.step("first").work(None).epoch) == ("succeeded", 0)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ({"each": [0]}, r"each\[0\] .* is no dead letter"),
        ({"each": [99]}, r"each\[99\] .* is no dead letter"),
        ({"nothing": [None]}, "nothing of .* is no dead letter"),
    ],
)
def test_what_is_no_dead_letter_is_refused(depot: Depot, pieces: dict[str, list[int | None]], said: str) -> None:
    run = depot.run(1, "b")
    before = depot.site.state(run).version
    with pytest.raises(MusterError, match=said):
        depot.redrive(run, **pieces)
    assert depot.site.state(run).version == before


def test_what_was_discarded_is_not_redriven(depot: Depot) -> None:
    run = depot.run(1, "b")
    log = depot.site.services.log
    order(log, plan_discard(log, run, {"each": [1]}, by="ada", reason="paid by hand"))
    before = depot.site.state(run).version
    with pytest.raises(MusterError, match="was discarded; nothing was changed"):
        depot.redrive(run, each=[1])
    with pytest.raises(MusterError, match="was discarded"):
        plan_discard(log, run, {"each": [1]}, by="bob", reason="again")
    assert depot.site.state(run).version == before


def test_of_two_who_redrive_at_once_one_is_told(depot: Depot) -> None:
    run = depot.run(1, "b")
    log, definitions = depot.site.services.log, depot.site.services.definitions
    plans = [plan_redrive(log, definitions, run, {"each": [1]}, by=who) for who in ("ada", "bob")]
    order(log, plans[0])
    with pytest.raises(MusterError, match="at the same moment; nothing was changed"):
        order(log, plans[1])
    assert [event.type for event in log.read(run)].count("dead_letter.redriven") == 1


def test_an_unknown_run_step_or_definition_is_said_and_nothing_changed(depot: Depot, database: Database) -> None:
    run = depot.run(1, "b")
    before = depot.site.state(run).version
    with pytest.raises(MusterError, match="There is no run tested/never"):
        depot.restart("tested/never", "each")
    with pytest.raises(MusterError, match="has no step 'eech'"):
        depot.restart(run, "eech")
    with database.connection() as connection:
        connection.execute("DELETE FROM definitions")
    depot.site.services.definitions._cache.clear()
    for attempt in (lambda: depot.restart(run, "each"), lambda: depot.redrive(run, each=[1])):
        with pytest.raises(MusterError, match="no definition"):
            attempt()
    assert depot.site.state(run).version == before


def test_a_run_that_has_not_ended_is_not_restarted(depot: Depot) -> None:
    run = depot.site.open(depot.site.definition(AUTOMATION.format(pack=1)), folder="", names=[])
    with pytest.raises(MusterError, match="has not ended"):
        depot.restart(run, "each")
