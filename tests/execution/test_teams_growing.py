"""A plan that grows while it is carried out: what a task gives can add tasks, in the same append as its ending."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from muster.coordination.assignment import Choice
from muster.events.model import Event, EventType
from muster.events.payloads.work import StepExtended, TaskAssigned
from muster.execution.fanout import load_fan_out
from muster.execution.performing import perform
from muster.execution.teams import Board
from muster.operations.debugging import debug
from muster.operations.redoing import order, plan_redrive, plan_restart
from support.agent_services import OneServer
from support.model_server import ModelServer
from support.reconciled import begun
from support.runs import Site, perform_in_process, place, started
from support.sources import source_of

AGENTS = """\
department: works
agents:
  - { id: boss, role: Leads., skills: [lead], offline: growing.lead }
  - { id: writer, role: Writes., skills: [write], offline: growing.write }
  - { id: finder, role: Finds., skills: [find], offline: growing.find }
"""
SKILLS = source_of(__file__, "growing")
FOUND = """\
automation: works
steps:
  - id: work
    failures: {failures}
    team:
      size: 3
      max_tasks: {most}
      tasks:
        - {{ id: search, ask: Find parts., needs: [find], with: {{ parts: {parts} }} }}
        - {{ id: sum_up, ask: Sum up., needs: [write], after: [search] }}
"""
LED = """\
automation: works
inputs: { topics: { type: array, default: [tea, milk] } }
steps:
  - id: work
    team: { mode: hierarchical, lead: boss, goal: "{{ inputs.topics }}", rounds: 2 }
"""


@pytest.fixture
def team(site: Site) -> Site:
    site.agents(AGENTS)
    site.skills("growing", SKILLS)
    return site


def found(parts: str = "[a, b]", most: int = 10, failures: str = "continue") -> str:
    return FOUND.format(parts=parts, most=most, failures=failures)


def side_by_side(site: Site, run: str, step: str = "work", **more: Any) -> list[str]:
    """All members of a team at once, as Airflow performs them; they may not wait for ever."""
    refs = site.tasks(run, step, **more)

    async def all_of_them() -> list[str]:
        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            tasks = [group.create_task(perform(site.services, ref)) for ref in refs]
        return [task.result().status for task in tasks]

    return list(site.do(all_of_them()))


def events(site: Site, run: str, *types: EventType) -> list[Event]:
    return list(site.services.log.read(run, types=types))


def output(site: Site, run: str) -> Any:
    state = site.state(run).step("work")
    errors = [work.error for work in state.works if work.error]
    assert not errors, errors
    return state.output


def test_a_task_adds_tasks_in_the_append_of_its_ending(team: Site) -> None:
    definition = team.definition(found())
    run = team.open(definition)
    side_by_side(team, run)
    assert output(team, run) == {
        "search": {
            "more_tasks": [
                {"id": f"find_{name}", "ask": f"Write {name}.", "with": {"unless": ""}, "needs": ["write"]}
                for name in "ab"
            ]
        },
        "sum_up": "Sum up.",
        "find_a": "Write a.",
        "find_b": "Write b.",
    }
    (added,) = events(team, run, EventType.STEP_EXTENDED)
    said = StepExtended.of(added)
    assert (said.by, said.first, said.length, said.names) == (0, 2, 4, ["find_a", "find_b"])
    (ended,) = (event for event in events(team, run, EventType.STEP_SUCCEEDED) if event.index == 0)
    assert (ended.version, ended.at) == (added.version + 1, added.at)
    assert team.state(run).step("work").status == "succeeded"
    assert [event.data["counts"]["succeeded"] for event in events(team, run, EventType.STEP_COMPLETED)] == [4]
    assert team.services.log.verify(run) is None
    team.close(run)
    assert team.state(run).status == "succeeded"
    assert not debug(team.services.log.read(run), definition, definition, team.services).differences


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (found(most=3), "The plan would have 4 tasks, and `max_tasks` allows 3"),
        (found(parts="[a, a]"), "there are two tasks `find_a`"),
        (found(parts="[a/paint]"), "task `find_a` needs `paint`, which no agent of the team has among its skills"),
        (found(parts="[a@finder]"), "goes back to an agent that it comes from: finder → finder"),
    ],
)
def test_what_may_not_be_added_fails_the_task_and_says_why(team: Site, source: str, said: str) -> None:
    run = team.open(team.definition(source))
    side_by_side(team, run)
    items = team.state(run).step("work").items
    assert said in str(items[0].error)
    assert (items[0].status, items[1].status, len(items)) == ("failed", "skipped", 2)
    assert not events(team, run, EventType.STEP_EXTENDED)


def test_two_tasks_that_add_at_once_have_positions_of_their_own(team: Site) -> None:
    tasks = "\n".join(
        f"        - {{ id: search_{n}, ask: Find., needs: [find], with: {{ parts: [a{n}, b{n}] }} }}" for n in range(6)
    )
    source = "automation: works\nsteps:\n  - id: work\n    team:\n      members: [finder, writer]\n      size: 8\n"
    run = team.open(team.definition(source + f"      max_tasks: 100\n      tasks:\n{tasks}\n"))
    side_by_side(team, run)
    said = [StepExtended.of(event) for event in events(team, run, EventType.STEP_EXTENDED)]
    assert [(each.first, each.length) for each in said] == [(6 + 2 * n, 8 + 2 * n) for n in range(6)]
    assert len(output(team, run)) == 18


@pytest.mark.parametrize("lane", ["async", "worker"])
def test_members_in_processes_of_their_own_do_what_was_added_also_when_one_dies(team: Site, lane: str) -> None:
    tasks = found(parts="[a, b, c, d]").replace("size: 3", "size: 2\n      members: [finder, writer]")
    run = team.open(team.definition(tasks + f"    lane: {lane}\n"))
    first = team.tasks(run, "work")[0]

    async def taken_and_left() -> None:
        board = Board(team.services, await load_fan_out(team.services, first), {}, 0)
        assert await board.claim(first, 0, Choice(0, "it was free"))

    team.do(taken_and_left())
    processes = [started(perform_in_process, *place(team), run, "work", slot) for slot in range(2)]
    for process in processes:
        process.join(120)
    assert set(output(team, run)) == {"search", "sum_up", "find_a", "find_b", "find_c", "find_d"}
    assert len(events(team, run, EventType.STEP_COMPLETED)) == 1


def test_a_manager_splits_sends_back_with_remarks_and_the_work_so_far_and_merges(team: Site) -> None:
    run = team.open(team.definition(LED))
    side_by_side(team, run)
    gave = output(team, run)
    assert list(gave) == ["plan", "tea", "milk", "review_1", "milk_r2", "review_2", "merge"]
    assert gave["review_1"] == {"accepted": False, "back": [{"task": "milk", "remarks": "longer"}]}
    assert gave["milk_r2"] == "milk, longer: was milk"
    assert gave["merge"] == "tea; milk, longer: was milk"
    by = {said.index: said.agent for said in map(TaskAssigned.of, events(team, run, EventType.TASK_ASSIGNED))}
    assert by == {0: "boss", 1: "writer", 2: "writer", 3: "boss", 4: "writer", 5: "boss", 6: "boss"}


def test_a_manager_who_sends_back_too_often_is_stopped_and_the_log_says_why(team: Site) -> None:
    run = team.open(team.definition(LED.replace("rounds: 2", "rounds: 0")))
    side_by_side(team, run)
    said = team.state(run).step("work").items[3].error or {}
    assert "Work was sent back 0 times, which is all that `rounds` allows" in str(said["message"])


def test_a_model_is_told_why_its_plan_cannot_be_carried_out_and_mends_it(team: Site, models: ModelServer) -> None:
    agents = AGENTS.replace("offline: growing.lead", "tiers: [good]")
    team.agents(agents)
    team.services = replace(team.services, models=OneServer({"good": models.url}))
    task = {"id": "tea", "ask": "Write.", "needs": ["write"], "with": {"text": "tea"}}
    models.script(
        {"answer": {"tasks": [{**task, "needs": ["paint"], "after": ["nothing"]}]}},
        {"answer": {"tasks": [task]}},
        {"answer": {"accepted": True}},
        {"text": "all of it"},
    )
    run = team.open(team.definition(LED))
    side_by_side(team, run)
    assert output(team, run)["merge"] == "all of it"
    told = str(models.calls[1])
    assert "needs `paint`, which no agent of the team has among its skills" in told
    assert "is after `nothing`, which is no task of the plan" in told


def test_a_model_whose_plan_never_fits_fails_the_team_with_the_reason(team: Site, models: ModelServer) -> None:
    team.agents(AGENTS.replace("offline: growing.lead", "tiers: [good], retries: 1"))
    team.services = replace(team.services, models=OneServer({"good": models.url}))
    models.always({"answer": {"tasks": [{"id": "tea", "ask": "Write.", "needs": ["paint"]}]}})
    run = team.open(team.definition(LED + "    retry: { times: 0 }\n"))
    side_by_side(team, run)
    assert team.state(run).step("work").items[0].status == "failed"
    assert not events(team, run, EventType.STEP_EXTENDED)


def test_a_redrive_keeps_what_was_added_and_does_only_what_failed(team: Site, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    run = team.open(team.definition(found(parts=f"[a, 'b!{flag}']")))
    side_by_side(team, run)
    team.close(run)
    items = team.state(run).step("work").items
    assert [items[index].status for index in range(4)] == ["succeeded", "succeeded", "succeeded", "failed"]
    flag.touch()
    order(team.services.log, plan_redrive(team.services.log, team.services.definitions, run, {"work": [3]}, by="ada"))
    epoch = team.do(begun(team, run)).number
    side_by_side(team, run, epoch=epoch)
    team.close(run, epoch=epoch)
    state = team.state(run)
    assert state.status == "succeeded"
    assert set(state.step("work").output) == {"search", "sum_up", "find_a", "find_b"}
    again = [event.index for event in events(team, run, EventType.STEP_STARTED) if event.epoch == epoch]
    assert again == [3]


def test_a_restart_grows_anew_at_positions_that_were_nobodys(team: Site) -> None:
    run = team.open(team.definition(found() + "  - { id: late, skill: growing.fail }\n"))
    side_by_side(team, run)
    team.step(run, "late")
    team.close(run)
    order(team.services.log, plan_restart(team.services.log, team.services.definitions, run, "work", by="ada"))
    epoch = team.do(begun(team, run)).number
    side_by_side(team, run, epoch=epoch)
    state = team.state(run).step("work")
    assert (state.status, set(state.output)) == ("succeeded", {"search", "sum_up", "find_a", "find_b"})
    assert state.indices == [0, 1, 4, 5]
    assert [state.items[index].outcome for index in (0, 1, 4, 5)] == [epoch] * 4


def test_what_was_added_is_undone_before_what_added_it(team: Site, tmp_path: Path) -> None:
    out = tmp_path / "undone"
    source = found(failures="undo")
    source += f"    compensate: {{ skill: growing.undo, with: {{ task: '{{{{ item.id }}}}', file: '{out}' }} }}\n"
    run = team.open(team.definition(source + "  - { id: late, skill: growing.fail }\n"))
    side_by_side(team, run)
    team.step(run, "late")
    assert team.unwind(run) == "succeeded"
    undone = out.read_text().split()
    assert sorted(undone) == ["find_a", "find_b", "search", "sum_up"]
    assert undone[-1] == "search"
