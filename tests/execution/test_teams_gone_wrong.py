"""What goes wrong around a team: members that are gone, plans from elsewhere, tasks that are done again or undone."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.events.personal import Vault
from muster.execution.performing import perform
from muster.execution.references import WorkRef
from muster.operations.cancelling import request_cancel
from muster.operations.forgetting import forget
from muster.operations.redoing import order, plan_redrive, plan_restart
from support.reconciled import begun
from support.runs import MASTER, Site, perform_in_process, place, started
from support.sources import source_of

AGENTS = """\
department: works
agents:
  - { id: builder, role: Builds., skills: [build], offline: crew.do }
  - { id: tester, role: Tests., skills: [test], offline: crew.do }
  - { id: planner, role: Plans., skills: [plan], offline: crew.do }
"""
SKILLS = source_of(__file__, "crew")
BUILD = """\
automation: works
steps:
  - id: build
    failures: {failures}
    team:
      size: 3
      tasks:
        - {{ id: design, ask: Design it., needs: [plan], with: {{ unless: "{flag}" }} }}
        - {{ id: house, ask: Build it., needs: [build], uses: {{ drawing: design }} }}
        - {{ id: look, ask: Look at it., needs: [test], after: [house] }}
        - {{ id: alone, ask: Build it., needs: [build] }}
"""
PLANNED = """\
automation: works
inputs: { plan: { type: array } }
steps:
  - id: build
    team: { plan: "{{ inputs.plan }}", size: 2 }
"""


@pytest.fixture
def team(site: Site) -> Site:
    site.agents(AGENTS)
    site.skills("crew", SKILLS)
    return site


def build(flag: object = "", failures: str = "continue") -> str:
    return BUILD.format(flag=flag, failures=failures)


def members(site: Site, refs: list[WorkRef]) -> list[str]:
    """How these members ended, performed side by side; they may not wait for ever."""

    async def all_of_them() -> list[str]:
        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            tasks = [group.create_task(perform(site.services, ref)) for ref in refs]
        return [task.result().status for task in tasks]

    return list(site.do(all_of_them()))


def redriven(site: Site, run: str, index: int, flag: Path) -> None:
    """Do a run, mend what failed in it, and do one of its tasks again."""
    members(site, site.tasks(run, "build"))
    site.close(run)
    order(
        site.services.log,
        plan_redrive(site.services.log, site.services.definitions, run, {"build": [index]}, by="ada"),
    )
    flag.touch()
    epoch = site.do(begun(site, run)).number
    members(site, site.tasks(run, "build", epoch=epoch))
    site.close(run, epoch=epoch)


def test_the_others_do_what_only_a_member_that_is_gone_could_do(team: Site) -> None:
    run = team.open(team.definition(build()))
    refs = team.tasks(run, "build")
    assert set(members(team, refs[1:])) <= {"succeeded", "skipped"}
    assert team.state(run).step("build").status == "succeeded"


def test_they_end_when_the_run_is_cancelled_meanwhile(team: Site) -> None:
    run = team.open(team.definition(build()))
    refs = team.tasks(run, "build")
    request_cancel(team.services.log, run, by="ada", reason="not needed")
    members(team, refs[:1])
    assert {work.reason for work in team.state(run).step("build").items.values()} == {"cancelled"}


def test_they_end_when_the_run_is_closed_meanwhile(team: Site) -> None:
    run = team.open(team.definition(build()))
    refs = team.tasks(run, "build")
    team.close(run)
    assert set(members(team, refs[:1])) == {"failed"}


def test_a_team_ends_where_fewer_members_are_performed_at_once_than_it_has(team: Site) -> None:
    run = team.open(team.definition(build() + "    lane: worker\n"))
    refs = team.tasks(run, "build")

    async def two_at_once() -> None:
        slots = asyncio.Semaphore(2)

        async def one(ref: WorkRef) -> None:
            async with slots:
                await perform(team.services, ref)

        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            for ref in sorted(refs, key=lambda ref: ref.slot == 1):
                group.create_task(one(ref))

    team.do(two_at_once())
    assert team.state(run).step("build").status == "succeeded"


def test_tasks_are_undone_after_those_that_built_on_them(team: Site, tmp_path: Path) -> None:
    out = tmp_path / "undone"
    source = build(failures="undo")
    source += f"    compensate: {{ skill: crew.undo, with: {{ task: '{{{{ item.id }}}}', file: '{out}' }} }}\n"
    run = team.open(team.definition(source + "  - { id: last, skill: crew.fail }\n"))
    members(team, team.tasks(run, "build"))
    team.step(run, "last")
    assert team.unwind(run) == "succeeded"
    undone = out.read_text().split()
    assert undone.index("look") < undone.index("house") < undone.index("design"), undone
    assert len(undone) == 4


def test_of_two_processes_that_perform_one_member_one_goes_on(team: Site, tmp_path: Path) -> None:
    mark = tmp_path / "marks"
    do = f"ask: Do it., needs: [build], with: {{ seconds: 2, mark: '{mark}' }}"
    tasks = "\n".join(f"        - {{ id: part_{number}, {do} }}" for number in range(4))
    source = f"automation: works\nsteps:\n  - id: build\n    team:\n      size: 1\n      tasks:\n{tasks}\n"
    run = team.open(team.definition(source))
    team.tasks(run, "build")
    processes = [started(perform_in_process, *place(team), run, "build", 0) for _ in range(2)]
    for process in processes:
        process.join(120)
    assert team.state(run).step("build").status == "succeeded"
    # What was under way as the second process came may be done twice; its effects happen once all the same.
    assert 4 <= len(mark.read_text().split()) <= 5


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"returns": "no.such_type"}, "task `a`: `returns` must be a JSON Schema here, not the name `no.such_type`"),
        ({"returns": "/tmp/inbox/arrived.X"}, "not the name `/tmp/inbox/arrived.X`"),
        ({"returns": {"type": "objekt"}}, "task `a`: not a JSON Schema: 'objekt' is not valid"),
        ({"returns": "list[" * 2000 + "x" + "]" * 2000}, "`returns` must be a JSON Schema here"),
        ({"returns": {"$ref": "#/nowhere"}}, "task `a`: `returns` may not use `$ref` here"),
        ({"returns": {"type": "string", "pattern": "^(a+)+$"}}, "task `a`: `returns` may not use `pattern` here"),
        ({"returns": {"enum": list(range(1000))}}, "task `a`: `returns` is larger than 500 values"),
        ({"uses": {"drawing": "first."}}, "uses.drawing: must match"),
        ({"uses": {"drawing": "first.given.0"}}, "uses.drawing: must match"),
        ({"needs": ["paint"]}, "task `a` needs `paint`, which no agent of the team has among its skills"),
    ],
)
def test_what_is_odd_in_a_plan_from_elsewhere_is_refused_before_anything_begins(
    team: Site, task: dict[str, Any], said: str
) -> None:
    plan = [{"id": "first", "ask": "x", "needs": ["build"]}, {"id": "a", "ask": "Do it.", "needs": ["build"], **task}]
    run = team.open(team.definition(PLANNED), plan=plan)
    with pytest.raises(PermanentError) as refused:
        team.tasks(run, "build")
    assert said in refused.value.message
    assert not team.state(run).step("build").items


def test_a_type_is_looked_for_in_the_folders_of_skills_and_nowhere_else(team: Site, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    arrived = tmp_path / "arrived.py"
    arrived.write_text(f"class X:\n    pass\n\nopen({str(ran)!r}, 'w')\n")
    source = build().replace("needs: [plan],", f"needs: [plan], returns: '{arrived.with_suffix('')}.X',")
    (team.include / "automations" / "tested.yaml").write_text(source)
    with pytest.raises(AssertionError, match="there is no type"):
        team.definition(source)
    agents = AGENTS.replace("offline: crew.do }", f"offline: crew.do, returns: '{arrived.with_suffix('')}.X' }}", 1)
    team.agents(agents)
    with contextlib.suppress(AssertionError):
        run = team.open(team.definition(build()))
        members(team, team.tasks(run, "build"))
    assert not ran.exists()


def test_the_output_of_an_impersonal_team_stays_a_mapping(team: Site, database: Database) -> None:
    about = "inputs: { who: { type: string } }\npersonal: { subject: '{{ inputs.who }}', impersonal: build }\nsteps:\n"
    run = team.open(team.definition(build().replace("steps:\n", about, 1)), who="jane")
    members(team, team.tasks(run, "build"))
    before = team.state(run).step("build").output
    assert set(before) == {"design", "house", "look", "alone"}
    forget(database, Vault(lambda: MASTER), "jane", by="officer")
    assert team.state(run).step("build").output == before


def test_a_team_that_a_restart_leaves_as_it_was_says_how_its_members_ended(team: Site, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    last = f"  - {{ id: last, skill: crew.do_or_fail, with: {{ unless: '{flag}' }} }}\n"
    run = team.open(team.definition(build() + last))
    before = members(team, team.tasks(run, "build"))
    team.step(run, "last")
    team.close(run)
    flag.touch()
    order(team.services.log, plan_restart(team.services.log, team.services.definitions, run, "last", by="ada"))
    epoch = team.do(begun(team, run))
    refs = team.tasks(run, "build", epoch=epoch.number, is_preserved="build" in epoch.preserved_steps)
    assert members(team, refs) == before
    team.step(run, "last", epoch=epoch.number)
    team.close(run, epoch=epoch.number)
    assert team.state(run).status == "succeeded"


def test_a_redrive_ends_where_a_when_left_a_task_out(team: Site, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    source = build(flag).replace("failures:", "when: \"{{ item.id != 'house' }}\"\n    failures:")
    run = team.open(team.definition(source))
    redriven(team, run, 0, flag)
    items = team.state(run).step("build").items
    assert [(index, items[index].status, items[index].reason) for index in range(3)] == [
        (0, "succeeded", None),
        (1, "skipped", "when"),
        (2, "skipped", "upstream_failed"),
    ]


def test_redriving_a_task_that_was_set_aside_does_what_waited_for_it(team: Site, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    team.skills("crew", SKILLS.replace('ValueError("it cannot be done")', 'SetAside("not now")'))
    run = team.open(team.definition(build(flag)))
    redriven(team, run, 0, flag)
    state = team.state(run)
    assert state.status == "succeeded"
    assert {work.status for work in state.step("build").items.values()} == {"succeeded"}
