"""The ways in which a team works together, each with its rules and its limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from muster.events.model import EventType
from muster.execution.performing import perform
from muster.language.folder import load_folder
from muster.operations.redoing import order, plan_restart
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
"""
STEP = """\
automation: works
inputs: {{ topics: {{ type: array, default: [tea, milk] }} }}
steps:
  - id: work
    lane: {lane}
    team: {{ {team} }}
"""
ALONE = 'mode: autonomous, lead: boss, goal: "{{ inputs.topics }}"'
CHAIN = (
    "tasks: [{ id: one, ask: One., needs: [write] }, { id: two, ask: Two., needs: [write] }, "
    "{ id: three, ask: Three., needs: [write] }]"
)


@pytest.fixture
def team(site: Site) -> Site:
    site.agents(AGENTS)
    site.skills("growing", source_of(__file__, "growing"))
    return site


def source(team: str, lane: str = "async") -> str:
    return STEP.format(team=team, lane=lane)


def played(site: Site, team: str, epoch: int = 0, run: str | None = None) -> str:
    """A run of a team of that kind."""
    run = run or site.open(site.definition(source(team)))
    refs = site.tasks(run, "work", epoch=epoch)

    async def all_of_them() -> None:
        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            for ref in refs:
                group.create_task(perform(site.services, ref))

    site.do(all_of_them())
    return run


def gave(site: Site, run: str) -> Any:
    state = site.state(run).step("work")
    errors = [work.error for work in state.works if work.error]
    assert not errors, errors
    return state.output


def why(site: Site, run: str) -> str:
    """The errors of a team that has failed."""
    state = site.state(run).step("work")
    return "; ".join(str(work.error["message"]) for work in state.works if work.error)


def test_one_after_the_other_each_is_given_what_the_one_before_gave(team: Site) -> None:
    definition = team.definition(source(f"mode: sequential, {CHAIN}"))
    run = played(team, f"mode: sequential, {CHAIN}")
    assert gave(team, run) == {"one": "One.", "two": "Two.", "three": "Three."}
    ended = [event.index for event in team.services.log.read(run, types=[EventType.STEP_SUCCEEDED])]
    assert ended == [0, 1, 2]
    items = definition.step("work").listed([[{"id": "a", "ask": "A."}, {"id": "b", "ask": "B."}], {}])
    assert items[1]["uses"] == {"previous": "a"}  # type: ignore[index]


def test_side_by_side_the_join_is_given_all_results(team: Site) -> None:
    run = played(team, f"mode: parallel, join: Bring it together., lead: boss, {CHAIN}")
    assert gave(team, run) == {"one": "One.", "two": "Two.", "three": "Three.", "join": "One.; Two.; Three."}


def test_a_planner_splits_the_goal_before_any_mode(team: Site) -> None:
    run = played(team, 'mode: parallel, join: Join., lead: boss, plan: { by: boss }, goal: "{{ inputs.topics }}"')
    assert gave(team, run)["join"] == "tea; milk"
    run = played(team, 'plan: { by: boss }, goal: "{{ inputs.topics }}"')
    assert set(gave(team, run)) == {"plan", "tea", "milk"}


@pytest.mark.parametrize("lane", ["async", "worker"])
def test_an_agent_decides_turn_by_turn_also_when_its_process_dies(team: Site, lane: str) -> None:
    run = team.open(team.definition(source(ALONE + ", size: 2", lane)))
    team.tasks(run, "work")
    first = started(perform_in_process, *place(team), run, "work", 0)
    first.join(8)
    first.kill()
    first.join(10)
    processes = [started(perform_in_process, *place(team), run, "work", slot) for slot in range(2)]
    for process in processes:
        process.join(120)
    assert list(gave(team, run)) == ["turn_1", "tea", "turn_2", "milk", "turn_3", "merge"]
    assert gave(team, run)["merge"] == "tea; milk"
    assert team.services.log.verify(run) is None


def test_a_restart_decides_anew(team: Site) -> None:
    run = played(team, ALONE)
    team.close(run)
    order(team.services.log, plan_restart(team.services.log, team.services.definitions, run, "work", by="ada"))
    epoch = team.do(begun(team, run)).number
    played(team, ALONE, epoch, run)
    assert gave(team, run)["merge"] == "tea; milk"
    team.close(run, epoch=epoch)
    assert team.state(run).status == "succeeded"


@pytest.mark.parametrize(
    ("more", "answers", "said"),
    [
        (", rounds: 1", [("tea", {})], "has taken 1 turns, which is all that `rounds` allows"),
        (", max_tasks: 2", [("tea", {})], "and `max_tasks` allows 2"),
        ("", [("tea", {"agent": "boss"})], "goes back to an agent that it comes from: boss → boss"),
        ("", [("tea", {"agent": "stranger"})], "is for the agent `stranger`, who is not in the team"),
        ("", [("a", {"ask": "x"}), ("b", {"ask": "x"}), ("c", {"ask": "x"})], "asks the same for the 3rd time"),
        ("", [("tea", {"uses": {"x": "nothing"}})], "uses `nothing`: `nothing` is no task of the plan"),
        ("", [("tea", {"returns": "no.such"})], "must be a JSON Schema here"),
        ("", [("tea", {"needs": ["write"], "tools": ["shell.run"]})], "tools: is not known here"),
        ("", [], "nothing is named that is to be done next"),
    ],
)
def test_an_agent_that_asks_for_too_much_is_stopped_and_the_log_says_why(
    team: Site, models: ModelServer, more: str, answers: list[tuple[str, dict[str, Any]]], said: str
) -> None:
    team.agents(AGENTS.replace("offline: growing.lead", "tiers: [good], retries: 0"))
    team.services = replace(team.services, models=OneServer({"good": models.url}))
    asked = [{"id": name, "ask": f"Write {name}.", **({"needs": ["write"]} | fields)} for name, fields in answers]
    models.script(*({"answer": {"done": False, "next": [task]}} for task in asked))
    models.always({"answer": {"done": False, "next": asked[-1:]}})
    run = played(team, ALONE + more)
    assert said in why(team, run)


def test_a_model_that_is_told_of_a_limit_can_keep_to_it(team: Site, models: ModelServer) -> None:
    team.agents(AGENTS.replace("offline: growing.lead", "tiers: [good]"))
    team.services = replace(team.services, models=OneServer({"good": models.url}))
    task = {"id": "tea", "ask": "Write.", "needs": ["write"]}
    models.script({"answer": {"done": False, "next": [task]}}, {"answer": {"done": True}}, {"text": "nothing done"})
    run = played(team, ALONE + ", rounds: 1")
    assert gave(team, run) == {"turn_1": {"done": True}, "merge": "nothing done"}
    assert "which is all that `rounds` allows" in str(models.calls[1])


@pytest.mark.parametrize(
    ("team_source", "said"),
    [
        ("mode: hierarchical, goal: x", "`mode: hierarchical` needs `lead`"),
        ("mode: autonomous, lead: boss", "`goal` is missing"),
        ("mode: sequential", "`plan` is missing, or `tasks`"),
        ("mode: autonomous, lead: bos, goal: x", "boss"),
        ("plan: { by: bos }, goal: x", "boss"),
        (f"rounds: 2, {CHAIN}", "`rounds` says nothing without `mode: hierarchical` or `mode: autonomous`"),
        (f"join: x, {CHAIN}", "`join` says nothing without `mode: parallel`"),
        (f"max_tasks: 2, {CHAIN}", "`max_tasks` is less than the 3 tasks there are"),
        ("mode: autonomos, lead: boss, goal: x", "autonomous"),
        ("tasks: [{ id: a, ask: A., agent: nobody }]", "is for the agent `nobody`, who is not in the team"),
        ("tasks: [{ id: a, ask: A., gathers: [b] }]", "gathers `b`, which is no task of the plan"),
    ],
)
def test_what_is_wrong_with_a_mode_is_said_where_it_is_written(team: Site, team_source: str, said: str) -> None:
    (team.include / "automations").mkdir(exist_ok=True)
    (team.include / "automations" / "works.yaml").write_text(source(team_source))
    problems = "\n".join(map(str, load_folder(team.include).problems))
    assert said in problems
