"""Agents that are programs, as steps and as members of a team."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from muster.events.model import EventType
from muster.execution.performing import perform
from muster.execution.references import WorkRef
from muster.isolation.workspaces import FOLDER
from muster.language import load_folder
from support.documents import ROOT, blocks
from support.programs import PYTHON, processes_with
from support.runs import Site

AGENTS = """\
department: works
agents:
  - id: counter
    role: Counts.
    skills: [count]
    command:
      program: [{python}, ./commands/work.py, {mark}]
      network: any
      limits: {{ seconds: 60, memory_mb: 100, processes: 20, disk_mb: 10, files: 100 }}
  - {{ id: clerk, role: Files., skills: [file], offline: work.file }}
"""
PROGRAM = """\
import json, os, sys, time
request = json.loads(sys.stdin.readline())
data = request["data"]
if not os.fork():
    os.setsid()
    time.sleep(600)
if data.get("waits"):
    open("begun", "w")
    time.sleep(600)
if data.get("fails"):
    sys.exit(1)
print(json.dumps({"type": "result", "output": {"words": len(data["text"].split()), "at": request["index"]}}))
"""
SKILLS = """\
from muster.skills.registry import skill

@skill("work.file")
def file(words: int = 0) -> str:
    return f"{words} filed"
"""
STEP = """\
automation: count
inputs: { text: { type: string }, waits: { type: boolean, default: false } }
steps:
  - id: count
    agent: counter
    ask: Count the words.
    with: { text: "{{ inputs.text }}", waits: "{{ inputs.waits }}" }
    retry: { times: 0 }
"""
TEAM = """\
automation: works
steps:
  - id: work
    team:
      size: 2
      tasks:
        - { id: one, ask: Count it., needs: [count], with: { text: a b c } }
        - { id: two, ask: Count it., needs: [count], with: { text: a b } }
        - { id: file, ask: File it., needs: [file], uses: { words: one.words } }
"""


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    return f"{os.getpid()}-{request.node.name}"


@pytest.fixture
def works(site: Site, mark: str) -> Site:
    (site.include / "commands").mkdir()
    (site.include / "commands" / "work.py").write_text(PROGRAM)
    site.agents(AGENTS.format(python=PYTHON, mark=mark))
    site.skills("work", SKILLS)
    return site


def begun(site: Site) -> list[Path]:
    return list(site.services.artifacts.glob(f"*/{FOLDER}/*/work/begun"))


def test_a_program_does_a_step(works: Site, mark: str) -> None:
    run = works.run(works.definition(STEP), text="one two three")
    state = works.state(run)
    assert state.status == "succeeded", state.reason
    assert state.step("count").output == {"words": 3, "at": None}
    assert not processes_with(mark)


def test_programs_are_members_of_a_team(works: Site, mark: str) -> None:
    run = works.open(works.definition(TEAM))

    async def all_of_them() -> list[object]:
        tasks = await asyncio.to_thread(works.tasks, run, "work")
        return await asyncio.gather(*(perform(works.services, task) for task in tasks))

    works.do(all_of_them())
    works.close(run)
    state = works.state(run)
    assert state.status == "succeeded", state.reason
    output = state.step("work").output
    assert isinstance(output, dict)
    assert (output["one"]["words"], output["two"]["words"], output["file"]) == (3, 2, "3 filed")
    assert not processes_with(mark)


def test_a_program_that_takes_too_long_for_its_step_is_ended_with_the_attempt(works: Site, mark: str) -> None:
    run = works.run(works.definition(f"{STEP}    timeout: 1s\n"), text="a", waits=True)
    assert works.state(run).step("count").status == "failed"
    [failed] = works.services.log.read(run, types=[EventType.STEP_FAILED])
    assert "timeout of 1 s" in failed.data["error"]["message"]
    assert not processes_with(mark)
    assert not begun(works)


def test_the_loop_goes_on_while_a_program_works(works: Site) -> None:
    run = works.open(works.definition(STEP), text="a b", waits=False)

    async def beside() -> float:
        longest, work = 0.0, asyncio.ensure_future(perform(works.services, WorkRef(run=run, step="count")))
        while not work.done():
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - began)
        await work
        return longest

    beats = works.do(beside())
    alone = works.do(_longest_alone())
    assert beats < max(1.0, 50 * alone)


async def _longest_alone() -> float:
    longest = 0.0
    for _ in range(50):
        began = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - began)
    return longest


def test_the_ten_lines_of_the_page_do_what_it_says(site: Site) -> None:
    page = ROOT / "docs" / "agents" / "command_agents.md"
    shown = [block for kind in ("python", "yaml") for block in blocks(kind) if block.page == page]
    shown = [block for block in shown if "command" in block.marks]
    assert len(shown) == 3
    assert len([line for line in shown[0].text.splitlines() if line and not line.startswith("# include")]) <= 10
    for block in shown:
        path = site.include.parent / block.text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text)
    catalogue = load_folder(site.include)
    assert not catalogue.problems, "\n".join(map(str, catalogue.problems))
    run = site.run(catalogue.definitions["count_words"], text="one two three")
    state = site.state(run)
    assert state.status == "succeeded", state.reason
    assert state.step("count").output == {"words": 3}
