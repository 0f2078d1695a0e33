"""What the steps and agents of a run know together and tell each other, as their automation says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from muster.coordination.blackboard import Board, Entry, Rights, Writer
from muster.coordination.messages import MessageRefused, Post
from muster.database import Database
from muster.events.model import EventType
from muster.events.payloads.work import ContextShown
from muster.execution.performing import perform
from muster.execution.sharing import keys_of
from muster.language import load_folder
from muster.operations.redoing import order, plan_restart
from support.reconciled import begun_again
from support.runs import Site

AGENTS = """\
department: works
agents:
  - { id: finder, role: Finds out., skills: [find], offline: work.find }
  - { id: writer, role: Writes., skills: [write], offline: work.write }
"""
SKILLS = """\
from pydantic import BaseModel
from muster.skills.registry import SkillContext, skill

class Report(BaseModel):
    text: str

@skill("work.find", lane="async")
async def find(context: SkillContext, fact: str, shared_context: list[dict[str, object]], fails: bool = False) -> int:
    await context.board.amerge("facts", {fact: context.index})
    await context.board.aupdate("count", lambda before: (before or 0) + 1)
    if fails:
        raise ValueError("it cannot be found")
    return len(shared_context)

@skill("work.write", lane="async")
async def write(context: SkillContext, shared_context: list[dict[str, object]]) -> list[dict[str, object]]:
    await context.board.aput("report", Report(text=f"{len(shared_context)} entries"))
    return shared_context

@skill("work.note")
def note(context: SkillContext, key: str, value: object, fails: bool = False) -> object:
    entry = context.board.get(key) if key in context.board.reads else None
    context.board.put(key, value)
    if fails:
        raise ValueError("after it was noted")
    return None if entry is None else entry.value

@skill("work.forget_it")
def forget_it() -> None:
    pass

@skill("work.fail")
def fail() -> None:
    raise ValueError("no")

@skill("work.tell")
def tell(context: SkillContext, to: str, text: str) -> str:
    return str(context.messages.send(to, text))

@skill("work.hear")
def hear(context: SkillContext) -> list[str]:
    found = context.messages.receive(9)
    for delivery in found:
        context.messages.acknowledge(delivery)
    return [f"{delivery.envelope.sender}: {delivery.body}" for delivery in found]
"""
CONTEXT = """\
automation: works
inputs: { topic: { type: string, default: growth } }
shared_context:
  run:
    facts: { type: object }
    count: { type: integer }
    report: work.Report
  goal: { lessons: { type: array } }
  of: "{{ inputs.topic }}"
steps:
"""
TEAM = f"""{CONTEXT}
  - id: research
    context: {{ reads: [facts, count], writes: [facts, count, report] }}
    team:
      size: 2
      tasks:
        - {{ id: prices, ask: Find the prices., needs: [find], with: {{ fact: price }} }}
        - {{ id: people, ask: Find the people., needs: [find], with: {{ fact: people }} }}
        - {{ id: report, ask: Write about prices., needs: [write], after: [prices, people], reads: [facts] }}
"""


@pytest.fixture
def shared(site: Site) -> Site:
    site.agents(AGENTS)
    site.skills("work", SKILLS)
    return site


def board(site: Site, run: str, goal: str = "growth") -> Board:
    (definition,) = load_folder(site.include).definitions.values()
    keys = keys_of(definition, site.services.site)
    rights = Rights(reads=frozenset(keys.known))
    return Board(site.services.database, run, keys, rights, Writer(name="test"), goal=goal)


def standing(site: Site, run: str) -> dict[str, Any]:
    return {key: entry.value for key, entry in board(site, run).get_all().items() if entry.is_there}


def problems(site: Site, source: str) -> list[str]:
    (site.include / "automations" / "tested.yaml").write_text(source)
    return [str(problem) for problem in load_folder(site.include).problems]


def side_by_side(site: Site, run: str, step: str, **more: Any) -> None:
    refs = site.tasks(run, step, **more)

    async def all_of_them() -> None:
        await asyncio.gather(*(perform(site.services, ref) for ref in refs))

    site.do(all_of_them())


def test_members_of_a_team_know_what_others_found_and_none_is_lost(shared: Site) -> None:
    run = shared.open(shared.definition(TEAM))
    side_by_side(shared, run, "research")
    state = shared.state(run).step("research")
    assert not [work.error for work in state.works if work.error]
    assert standing(shared, run) == {
        "facts": {"price": 0, "people": 1}, "count": 2, "report": {"text": "1 entries"},
    }  # fmt: skip
    assert state.output["report"][0]["value"] == {"price": 0, "people": 1}
    assert {entry.writer for entry in board(shared, run).history("facts")} == {"finder"}


def test_the_log_says_what_an_agent_was_shown_and_what_was_left_out(shared: Site) -> None:
    large = "prices " * 2_000
    source = f"""{CONTEXT}
  - id: a
    skill: work.note
    with: {{ key: facts, value: {{ all: "{large}" }} }}
    context: {{ writes: [facts] }}
  - id: b
    skill: work.note
    with: {{ key: count, value: 3 }}
    context: {{ writes: [count] }}
  - id: write
    agent: writer
    ask: Write about prices.
    context: {{ reads: [facts, count, lessons], writes: [report], tokens: 500 }}
"""
    run = shared.run(shared.definition(source))
    (event,) = shared.services.log.read(run, types=[EventType.CONTEXT_SHOWN])
    said = ContextShown.of(event)
    assert (said.agent, said.versions, said.room) == ("writer", {"count": 1}, 500)
    assert said.shown == [{"key": "count", "version": 1, "written_by": "step:b", "value": 3}]
    assert [(left["key"], left["why"]) for left in said.left_out] == [("facts", "too large")]
    assert shared.state(run).status == "succeeded"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("context: { writes: [fact] }", "the shared context has no key `fact`"),
        ("context: { reads: [facts, fcts] }", "Did you mean `facts`?"),
        ("context: { see: [facts] }", "see"),
    ],
)
def test_a_step_that_reads_or_writes_what_nobody_declared_is_refused_at_its_place(
    shared: Site, written: str, said: str
) -> None:
    step = f"  - id: a\n    skill: work.fail\n    {written}\n"
    (found,) = problems(shared, CONTEXT + step)
    assert said in found
    assert "tested.yaml:" in found


def test_so_are_keys_and_goals_that_cannot_be(shared: Site) -> None:
    step = "  - { id: a, skill: work.fail }\n"
    personal = "personal: { subject: '{{ inputs.topic }}' }\nshared_context:\n"
    for old, new, said in (
        ("report: work.Report", "report: work.Rep", "there is no type `work.Rep`"),
        ("facts: { type: object }", "facts: { type: objekt }", "not a JSON Schema"),
        ("lessons:", "facts:", "`facts` is a key of the run already"),
        ('of: "{{ inputs.topic }}"', "", "`of` is missing"),
        ("inputs.topic }}", "inputs.topik }}", "there is no input `topik`"),
        ("inputs.topic }}", "steps.a }}", "only `inputs` and `settings` are known here"),
        (
            "shared_context:\n",
            personal,
            "in a run about a person",
        ),
    ):
        found = problems(shared, CONTEXT.replace(old, new, 1) + step)
        assert any(said in problem for problem in found), (said, found)
    (none,) = problems(shared, "automation: x\nsteps:\n  - { id: a, skill: work.fail, context: { reads: [facts] } }\n")
    assert "shared_context: { run: { facts: { type: … } } }" in none


def test_a_task_that_is_to_write_what_its_team_may_not_is_refused(shared: Site) -> None:
    (found,) = problems(shared, TEAM.replace("reads: [facts] }", "writes: [lessons] }"))
    assert "the team writes no `lessons` of the shared context" in found
    source = f"""{CONTEXT}
  - id: research
    context: {{ reads: [facts] }}
    team: {{ plan: "{{{{ [{{'id': 'a', 'ask': 'x', 'needs': ['write'], 'writes': ['report']}}] }}}}" }}
"""
    run = shared.open(shared.definition(source))
    side_by_side(shared, run, "research")
    work = shared.state(run).step("research").items[0]
    assert work.error is not None
    assert "`a` is to write `report` of the shared context, which the team research may not" in str(work.error)


def test_a_reader_with_no_right_is_refused_as_it_runs(shared: Site) -> None:
    source = f"{CONTEXT}  - {{ id: a, skill: work.note, with: {{ key: facts, value: {{}} }} }}\n"
    run = shared.run(shared.definition(source))
    error = str(shared.state(run).step("a").whole.error)
    assert "`facts` of the shared context may not be written by step `a`" in error
    assert "context: { writes: [facts] }" in error


def test_what_a_step_wrote_that_is_undone_is_withdrawn(shared: Site) -> None:
    source = f"""{CONTEXT}
  - id: a
    skill: work.note
    with: {{ key: facts, value: {{ price: 3 }} }}
    context: {{ writes: [facts] }}
    compensate: {{ skill: work.forget_it }}
  - id: lesson
    skill: work.note
    with: {{ key: lessons, value: [ask first] }}
    context: {{ writes: [lessons] }}
    compensate: {{ skill: work.forget_it }}
  - {{ id: b, skill: work.fail }}
"""
    run = shared.open(shared.definition(source))
    for step in ("a", "lesson", "b"):
        shared.step(run, step)
    assert standing(shared, run) == {"facts": {"price": 3}, "lessons": ["ask first"]}
    shared.unwind(run, {"b": "failed"})
    shared.close(run, {"b": "failed"})
    assert shared.state(run).status == "compensated"
    assert standing(shared, run) == {}
    assert [entry.withdrawn_because for entry in board(shared, run).history("facts")] == [None, "undone"]


def test_a_step_that_is_tried_again_counts_once(shared: Site) -> None:
    source = f"""{CONTEXT}
  - id: a
    skill: work.note
    with: {{ key: count, value: 1, fails: true }}
    context: {{ writes: [count] }}
    retry: {{ times: 2, delay: 0s, on: {{ bad_request: {{ times: 2 }} }} }}
"""
    run = shared.run(shared.definition(source))
    assert [entry.kind for entry in board(shared, run).history("count") if not entry.withdrawn_at][:1] == ["put"]
    assert len([entry for entry in board(shared, run).history("count") if _stands(entry)]) == 1


def _stands(entry: Entry) -> bool:
    return entry.withdrawn_at is None and entry.kind != "withdrawal"


def test_what_a_restarted_step_wrote_before_is_withdrawn(shared: Site, database: Database) -> None:
    run = shared.open(shared.definition(TEAM))
    side_by_side(shared, run, "research")
    shared.close(run)
    log, definitions = shared.services.log, shared.services.definitions
    order(log, plan_restart(log, definitions, run, "research", by="ada"))
    epoch = shared.do(begun_again(shared, run))
    side_by_side(shared, run, "research", epoch=epoch)
    assert not [work.error for work in shared.state(run).step("research").works if work.error]
    assert standing(shared, run)["facts"] == {"price": 0, "people": 1}
    assert len([entry for entry in board(shared, run).history("count") if _stands(entry)]) == 2
    # Of a number that another has counted on from nobody can tell what was whose: it says so.
    counted = board(shared, run).history("count")
    assert counted[0].value in (2, 3, 4)
    assert counted[0].value == 2 or any(entry.rests_on_withdrawn for entry in counted)


def test_a_run_that_goes_on_again_can_be_written_to(shared: Site, database: Database) -> None:
    source = """automation: works
steps:
  - { id: tell, skill: work.tell, with: { to: "step:hear", text: hello } }
  - { id: hear, skill: work.hear }
"""
    run = shared.run(shared.definition(source))
    log, definitions = shared.services.log, shared.services.definitions
    mailbox = Post(database).mailbox(run, "somebody")
    with pytest.raises(MessageRefused, match="has ended"):
        mailbox.send("nobody", 1)
    order(log, plan_restart(log, definitions, run, "tell", by="ada"))
    epoch = shared.do(begun_again(shared, run))
    mailbox.send("somebody", 1)
    assert len(mailbox.receive()) == 1
    for step in ("tell", "hear"):
        assert shared.step(run, step, epoch=epoch).status == "succeeded"
    # The same message of the same work is stored once; the step that receives it again finds it settled.
    assert shared.state(run).step("hear").output == []


def test_steps_write_to_each_other_as_who_they_are(shared: Site) -> None:
    source = """automation: works
steps:
  - { id: tell, skill: work.tell, with: { to: "step:hear", text: hello } }
  - { id: hear, skill: work.hear }
  - { id: wrong, skill: work.tell, with: { to: "step:her", text: hello } }
"""
    run = shared.run(shared.definition(source))
    assert shared.state(run).step("hear").output == ["step:tell: hello"]
    assert "Did you mean 'step:hear'" in str(shared.state(run).step("wrong").whole.error)


def test_an_agent_that_is_asked_again_is_shown_what_it_was_shown(shared: Site) -> None:
    source = f"""{CONTEXT}
  - id: find
    agent: finder
    ask: Find the facts.
    with: {{ fact: price, fails: true }}
    context: {{ reads: [facts, count], writes: [facts, count] }}
    retry: {{ times: 1, delay: 0s, on: {{ bad_request: {{ times: 1 }}, transient: {{ times: 1 }} }} }}
"""
    run = shared.run(shared.definition(source))
    assert len(list(shared.services.log.read(run, types=[EventType.CONTEXT_SHOWN]))) == 1
    # However often it was tried, what it noted stands once.
    assert standing(shared, run) == {"facts": {"price": None}, "count": 1}
