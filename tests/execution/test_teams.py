"""A team carries out a plan: each member takes the next task that it can do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from muster.coordination.assignment import Choice
from muster.database import Database
from muster.events.model import Event, EventType
from muster.execution import teams
from muster.execution.beginning import begin_work_item
from muster.execution.fanout import load_fan_out
from muster.execution.performing import perform
from muster.execution.work_item import WorkItem
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_redrive, plan_restart
from support.agent_services import OneServer
from support.model_server import ModelServer
from support.reconciled import begun_again
from support.runs import Site

AGENTS = """\
department: works
agents:
  - { id: builder, role: Builds., skills: [build], offline: work.do }
  - { id: tester, role: Tests., skills: [test], offline: work.do }
  - { id: all_round, role: Does anything., skills: [build, test, plan], offline: work.do }
"""
SKILLS = """\
import asyncio
from muster.skills.registry import SkillContext, skill

@skill("work.do", lane="async")
async def do(
    context: SkillContext, seconds: float = 0.0, fails: bool = False, drawing: object = None, at: int | None = None
) -> dict[str, object]:
    await asyncio.sleep(seconds)
    if fails:
        raise ValueError("it cannot be done")
    return {"at": context.index, "given": drawing if at is None else at}
"""
PLAN = """\
automation: works
steps:
  - id: build
    team:
      size: 3
      tasks:
        - { id: design, ask: Design it., needs: [plan] }
        - { id: house, ask: Build it., needs: [build], uses: { drawing: design } }
        - { id: garden, ask: Plant it., needs: [build], uses: { at: design.at } }
        - { id: look, ask: Look at it., needs: [test], after: [house, garden] }
"""


@pytest.fixture
def team(site: Site) -> Site:
    site.agents(AGENTS)
    site.skills("work", SKILLS)
    return site


def side_by_side(site: Site, run: str, step: str, **more: Any) -> list[Any]:
    """All members of a team at once, as Airflow performs them."""

    async def all_of_them() -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(perform(site.services, ref)) for ref in refs]
        return [task.result() for task in tasks]

    refs = site.tasks(run, step, **more)
    return list(site.do(all_of_them()))


def events(site: Site, run: str, *types: EventType) -> list[Event]:
    return list(site.services.log.read(run, types=types))


def test_tasks_are_done_after_those_that_they_wait_for_and_are_given_what_those_gave(team: Site) -> None:
    run = team.open(team.definition(PLAN))
    side_by_side(team, run, "build")
    state = team.state(run)
    assert not [work.error for work in state.step("build").works if work.error]
    assert state.step("build").output == {
        "design": {"at": 0, "given": None},
        "house": {"at": 1, "given": {"at": 0, "given": None}},
        "garden": {"at": 2, "given": 0},
        "look": {"at": 3, "given": None},
    }
    ended = [event.index for event in events(team, run, EventType.STEP_SUCCEEDED)]
    assert (ended[0], ended[-1]) == (0, 3)
    assert len(events(team, run, EventType.STEP_STARTED)) == 4


def test_each_task_goes_to_somebody_who_can_do_it_and_the_log_says_why(team: Site) -> None:
    run = team.open(team.definition(PLAN))
    side_by_side(team, run, "build")
    assigned = {event.index: event for event in events(team, run, EventType.TASK_ASSIGNED)}
    assert assigned[0].actor == "all_round"
    assert assigned[3].data["agent"] in ("tester", "all_round")
    assert assigned[0].data["why"].startswith("of 3 free members with plan the one")
    assert "free members with build" in assigned[1].data["why"]
    (laid_out,) = events(team, run, EventType.STEP_EXPANDED)
    assert laid_out.data["members"][0] == "all_round", "the smallest team that can do everything is one agent"
    assert len(laid_out.data["members"]) == 3


def test_a_task_that_fails_fails_the_team_and_nothing_that_waits_for_it_begins(team: Site) -> None:
    source = PLAN.replace("ask: Design it.,", "ask: Design it., with: { fails: true },")
    run = team.open(team.definition(source))
    side_by_side(team, run, "build")
    state = team.state(run)
    assert [state.step("build").items[index].status for index in range(4)] == ["failed", *["skipped"] * 3]
    assert state.step("build").items[1].reason == "upstream_failed"
    team.close(run)
    assert team.state(run).status == "failed"


def test_members_work_side_by_side(team: Site) -> None:
    tasks = "\n".join(f"        - {{ id: part_{n}, ask: Do it., with: {{ seconds: 0.4 }} }}" for n in range(6))
    run = team.open(team.definition(f"automation: works\nsteps:\n  - id: build\n    team:\n      tasks:\n{tasks}\n"))
    side_by_side(team, run, "build")
    open_now = most = 0
    for event in events(team, run, EventType.STEP_STARTED, EventType.STEP_SUCCEEDED):
        open_now += 1 if event.type == EventType.STEP_STARTED else -1
        most = max(most, open_now)
    assert most == 3
    assert {event.data["member"] for event in events(team, run, EventType.TASK_ASSIGNED)} == {0, 1, 2}


def test_one_member_alone_does_what_the_others_leave(team: Site) -> None:
    source = PLAN.replace("team:\n", "team:\n      members: [all_round]\n")
    run = team.open(team.definition(source))
    first = team.tasks(run, "build")[0]
    assert team.do(perform(team.services, first)).status == "succeeded"
    assert team.state(run).step("build").status == "succeeded"


def test_a_plan_that_a_step_gave_is_carried_out(team: Site, database: Database) -> None:
    team.skills(
        "plans",
        """\
from muster.skills.registry import skill

@skill("plans.split")
def split(parts: list[str]) -> list[dict[str, object]]:
    return [{"id": part, "ask": f"Do {part} {{{{ 1 + 1 }}}}.", "needs": ["build"]} for part in parts]
""",
    )
    source = """\
automation: works
inputs:
  parts: { type: array, items: { type: string } }
steps:
  - id: split
    skill: plans.split
    with: { parts: "{{ inputs.parts }}" }
  - id: build
    team: { plan: "{{ steps.split }}", size: 2 }
"""
    run = team.open(team.definition(source), parts=["wall", "roof"])
    team.step(run, "split")
    side_by_side(team, run, "build")
    assert set(team.state(run).step("build").output) == {"wall", "roof"}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("[a, b]", "needs `paint`, which no agent of the team has among its skills"),
        ("[]", "there is no task in it"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_fails_the_step_and_says_why(team: Site, parts: str, said: str) -> None:
    source = f"""\
automation: works
inputs:
  parts: {{ type: array, default: {parts} }}
steps:
  - id: build
    team:
      plan: "{{{{ inputs.plan }}}}"
"""
    needs = [{"id": name, "ask": "Do it.", "needs": ["paint"]} for name in parts.strip("[]").split(", ") if name]
    source = source.replace("parts:", "plan:")
    run = team.open(team.definition(source), plan=needs)
    with pytest.raises(Exception, match=said):
        team.tasks(run, "build")
    assert said in str(team.state(run).step("build").whole.error)


def test_after_an_attempt_that_failed_another_agent_is_asked(team: Site, models: ModelServer) -> None:
    agents = "  - {{ id: {0}, role: Works., skills: [build], tiers: [{0}] }}\n"
    team.agents("department: works\nagents:\n" + agents.format("first") + agents.format("second"))
    team.services = replace(team.services, models=OneServer({"first": models.url, "second": models.url}))
    source = """\
automation: works
steps:
  - id: build
    team:
      size: 1
      tasks: [{ id: wall, ask: Build it., needs: [build] }]
    retry: { times: 1, delay: 0s }
"""
    models.script({"status": 503}, {"text": "built"})
    run = team.open(team.definition(source))
    side_by_side(team, run, "build")
    assert team.state(run).step("build").output == {"wall": "built"}
    assert [event.data["agent"] for event in events(team, run, EventType.MODEL_CALLED)] == ["second"]
    assert len(events(team, run, EventType.STEP_RETRIED)) == 1


@pytest.mark.parametrize("failures", ["continue", "stop"])
def test_a_redrive_of_a_failed_task_does_what_waited_for_it_too_and_nothing_else(team: Site, failures: str) -> None:
    team.skills("work", SKILLS.replace("if fails:", "if fails and context.index == 1 and not Path(FILE).exists():"))
    path = team.include.parent / "mended"
    skills = team.include / "skills" / "work.py"
    skills.write_text("from pathlib import Path\n" + skills.read_text().replace("FILE", repr(str(path))))
    source = PLAN.replace("uses: { drawing: design } }", "after: [design], with: { fails: true } }")
    run = team.open(team.definition(source + f"    failures: {failures}\n"))
    side_by_side(team, run, "build")
    team.close(run)
    items = team.state(run).step("build").items
    assert (items[0].status, items[1].status, items[3].status) == ("succeeded", "failed", "skipped")
    path.touch()
    plan = plan_redrive(team.services.log, team.services.definitions, run, {"build": [1]}, by="ada")
    assert (plan.steps, plan.slots) == (("build",), ())
    order(team.services.log, plan)
    assert team.do(begun_again(team, run)) == 1
    side_by_side(team, run, "build", epoch=1)
    team.close(run, epoch=1)
    state = team.state(run)
    assert state.status == "succeeded"
    assert {work.status for work in state.step("build").items.values()} == {"succeeded"}
    again = [event.index for event in events(team, run, EventType.STEP_STARTED) if event.epoch == 1]
    assert (0 in again, again.index(1) < again.index(3)) == (False, True)
    assert set(state.step("build").output) == {"design", "house", "garden", "look"}


def test_a_restart_does_all_tasks_again(team: Site) -> None:
    run = team.open(team.definition(PLAN))
    side_by_side(team, run, "build")
    team.close(run)
    order(team.services.log, plan_restart(team.services.log, team.services.definitions, run, "build", by="ada"))
    assert team.do(begun_again(team, run)) == 1
    side_by_side(team, run, "build", epoch=1)
    team.close(run, epoch=1)
    assert team.state(run).status == "succeeded"
    assert len([event for event in events(team, run, EventType.STEP_SUCCEEDED) if event.epoch == 1]) == 4


def test_a_member_that_was_cleared_without_its_list_is_refused_in_words(team: Site) -> None:
    run = team.open(team.definition(PLAN))
    side_by_side(team, run, "build")
    team.close(run)
    before = team.state(run).step("build").output
    assert team.do(begun_again(team, run)) == 1
    outcome = team.step(run, "build", 1, epoch=1)
    assert outcome.status == "failed"
    assert "cleared in Airflow without build.items" in (outcome.reason or "")
    team.close(run, {"build_1": "failed"}, epoch=1)
    assert (team.state(run).status, team.state(run).step("build").output) == ("failed", before)


def test_an_idle_member_takes_over_from_one_that_gives_no_sign_of_life(
    team: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "LONGEST_WAIT_AHEAD", 2.0)
    run = team.open(team.definition(PLAN.replace("team:\n", "team:\n      members: [all_round]\n")))
    first, second, *_ = team.tasks(run, "build")

    async def taken_and_left() -> None:
        fan_out = await load_fan_out(team.services, first)
        board = teams.Board(team.services, fan_out, {}, 0)
        assert await board.claim(first, 0, Choice(0, "it was free"))

    team.do(taken_and_left())
    assert team.do(perform(team.services, second)).status == "succeeded"
    assert team.state(run).step("build").status == "succeeded"
    taken = [event.data for event in events(team, run, EventType.TASK_ASSIGNED) if event.index == 0]
    assert [(said["member"], said["why"][:36]) for said in taken] == [
        (0, "it was free"),
        (1, "all_round has given no sign of life "),
    ]


def test_a_member_that_is_performed_again_goes_on_with_the_task_that_it_had(team: Site) -> None:
    run = team.open(team.definition(PLAN.replace("team:\n", "team:\n      members: [all_round]\n")))
    first, *_ = team.tasks(run, "build")

    async def begun_and_left() -> None:
        fan_out = await load_fan_out(team.services, first)
        board = teams.Board(team.services, fan_out, {}, 0)
        assert await board.claim(first, 0, Choice(0, "it was free"))
        assert isinstance(await begin_work_item(team.services, board.work_item(first, 0)), WorkItem)

    team.do(begun_and_left())
    assert team.do(perform(team.services, first)).status == "succeeded"
    assert [event.index for event in events(team, run, EventType.TASK_ASSIGNED)] == [0, 1, 2, 3]
    assert len(events(team, run, EventType.STEP_STARTED)) == 5


def test_a_team_whose_run_is_cancelled_begins_nothing_more(team: Site) -> None:
    run = team.open(team.definition(PLAN))
    refs = team.tasks(run, "build")
    request_cancel(team.services.log, run, by="ada", reason="not needed")
    for ref in refs:
        team.do(perform(team.services, ref))
    items = team.state(run).step("build").items
    assert {work.status for work in items.values()} == {"skipped"}
    assert {work.reason for work in items.values()} == {"cancelled"}
    assert len(items) == 4


def test_tasks_are_undone_with_what_they_gave(team: Site) -> None:
    team.skills(
        "undo",
        """\
from muster.skills.registry import SkillContext, skill

@skill("undo.it")
def it(task: str, output: object, context: SkillContext) -> dict[str, object]:
    return {"task": task, "output": output}

@skill("undo.fail")
def fail() -> None:
    raise ValueError("it fails")
""",
    )
    source = PLAN + "    compensate: { skill: undo.it, with: { task: '{{ item.id }}', output: '{{ output }}' } }\n"
    source += "  - { id: last, skill: undo.fail }\n"
    run = team.open(team.definition(source))
    side_by_side(team, run, "build")
    team.step(run, "last")
    assert team.unwind(run) == "succeeded"
    undone = events(team, run, EventType.COMPENSATION_SUCCEEDED)
    assert sorted((event.index, event.data["output"]["task"]) for event in undone) == [
        (0, "design"), (1, "house"), (2, "garden"), (3, "look"),
    ]  # fmt: skip
    assert undone[0].data["output"]["output"]["at"] == undone[0].index


@pytest.mark.parametrize(("agents", "members"), [(1, 1), (3, 3)])
def test_the_inputs_of_a_run_may_say_how_many_members_a_team_has(team: Site, agents: int, members: int) -> None:
    source = """\
automation: works
inputs:
  agents: { type: integer, default: 2 }
steps:
  - id: build
    team:
      size: "{{ inputs.agents }}"
      tasks: [{ id: a, ask: Do. }, { id: b, ask: Do. }, { id: c, ask: Do. }, { id: d, ask: Do. }]
"""
    run = team.open(team.definition(source), agents=agents)
    assert len(team.tasks(run, "build")) == members


def test_a_size_that_no_team_has_fails_the_step_in_words(team: Site) -> None:
    source = """\
automation: works
inputs: { agents: {} }
steps:
  - id: build
    team: { size: "{{ inputs.agents }}", tasks: [{ id: a, ask: Do. }] }
"""
    for agents in (0, 101, "many", True, None):
        run = team.open(team.definition(source), agents=agents)
        with pytest.raises(Exception, match="no whole number from 1 to 100"):
            team.tasks(run, "build")
