"""A run's decisions are made again from its log, and only those that changed are told."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from muster.errors import MusterError
from muster.execution import laying_out
from muster.language.definition import Definition
from muster.operations.debugging import Debugged, debug
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "debugging")
pytestmark = pytest.mark.skills(desk=SKILLS)
AUTOMATION = """
automation: tested
inputs: {names: {type: array, items: {type: string}}}
settings: {limit: 2}
steps:
  - {id: read, each: "{{ inputs.names }}", when: "{{ item != 'no' }}", skill: desk.read, with: {name: "{{ item }}"}}
  - {id: many, when: "{{ steps.read | present | length > settings.limit }}", skill: desk.read, with: {name: many}}
  - id: way
    after: [read]
    branch:
      - {when: "{{ 'ONE' in steps.read }}", to: [left]}
      - {to: [right]}
  - {id: left, skill: desk.read, with: {name: left}}
  - {id: right, skill: desk.read, with: {name: right}}
"""


ONE, LEFT = {"name": "one"}, {"name": "left"}


def again(site: Site, run: str, own: Definition, source: str | None = None) -> Debugged:
    """Debug the run under another source of its automation, or its own."""
    definition = own if source is None else site.definition(source)
    return debug(site.services.log.read(run), definition, own, site.services)


def told(found: Debugged) -> list[tuple[str, int | None, str, Any, Any]]:
    return [(each.step, each.index, each.what, each.recorded, each.today) for each in found.differences]


def test_a_run_that_nothing_changed_for_makes_every_decision_as_before(site: Site) -> None:
    own = site.definition(AUTOMATION)
    for names in (["one", "no", "two"], ["one", "two", "three"], [], ["three"]):
        run = site.run(own, names=names)
        found = again(site, run, own)
        assert (found.differences, found.definition, found.own) == ([], own.hash, own.hash)
        assert found.decisions >= 4
        before = len(list(site.services.log.read(run)))
        again(site, run, own)
        assert len(list(site.services.log.read(run))) == before


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("limit: 2", "limit: 1", ("many", None, "whether it goes ahead", "skipped: when", "goes ahead")),
        ("'ONE' in", "'TWO' in", None),
        ("'ONE' in", "'SIX' in", ("way", None, "the way it takes", ["left"], ["right"])),
        (
            "item != 'no'",
            "item != 'one'",
            (
                "read",
                None,
                "the fan-out",
                {"length": 3, "positions with work": [0, 2]},
                {"length": 3, "positions with work": [1, 2]},
            ),
        ),
        (
            'name: "{{ item }}"',
            'name: "{{ item }}!"',
            ("read", 0, "what it is given", {"name": "one"}, {"name": "one!"}),
        ),
        ("inputs.names }}", "inputs.names | first }}", ("read", None, "the fan-out", ..., ...)),
        (
            "with: {name: left}",
            "with: {name: west}",
            ("left", None, "what it is given", {"name": "left"}, {"name": "west"}),
        ),
        ("id: many, when", "id: most, when", ("many", None, "the step", "is there", "is gone")),
    ],
)
def test_the_first_decision_that_another_yaml_changes_is_told(
    site: Site, old: str, new: str, first: tuple[Any, ...] | None
) -> None:
    own = site.definition(AUTOMATION)
    run = site.run(own, names=["one", "no", "two"])
    assert old in AUTOMATION
    found = told(again(site, run, own, AUTOMATION.replace(old, new)))
    if first is None:
        assert found == []
    else:
        assert [part for part, expected in zip(found[0], first, strict=True) if expected is not ...] == [
            expected for expected in first if expected is not ...
        ]


def test_a_step_that_was_not_there_is_told(site: Site) -> None:
    own = site.definition(AUTOMATION)
    run = site.run(own, names=["one"])
    found = told(again(site, run, own, AUTOMATION + "  - {id: late, skill: desk.read, with: {name: late}}\n"))
    assert found == [("late", None, "the step", "was not there", "is there")]


def test_changed_code_shows_in_the_decision_it_changes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    own = site.definition(AUTOMATION)
    run = site.run(own, names=["one", "no"])
    from muster.operations import debugging

    monkeypatch.setattr(debugging, "holds", lambda step, variables: True)
    found = told(again(site, run, own))
    assert [each[:3] for each in found] == [
        ("read", None, "the fan-out"),
        ("read", 1, "whether it goes ahead"),
        ("many", None, "whether it goes ahead"),
    ]
    assert laying_out.holds is not debugging.holds


def test_nothing_is_called_and_failures_are_the_recorded_ones(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = """
automation: tested
inputs: {names: {type: array, items: {type: string}}}
steps:
  - {id: first, skill: desk.refuse}
  - {id: second, skill: desk.read, with: {name: second}}
  - {id: broken, when: "{{ inputs.names[7].x > 1 }}", skill: desk.read, with: {name: x}, after: []}
"""
    own = site.definition(failing)
    run = site.run(own, names=["one"])

    def refused(*arguments: Any, **more: Any) -> None:
        raise AssertionError("the outside was called")

    events = list(site.services.log.read(run))
    assert [event.type for event in events].count("step.failed") == 2
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr("muster.skills.calling.call_skill", refused)
    found = debug(events, own, own, site.services)
    assert (found.differences, found.decisions) == ([], 3)


WORKING = """
automation: tested
inputs: {who: {type: string}, names: {type: array, items: {type: string}}}
settings: {channel: "#pay", hours: 3}
steps:
  - id: pay
    human: {ask: "Pay {{ inputs.who }}?", assignees: [bob], within: 1h, notify: [{slack: "#late"}]}
  - {id: tell, notify: [{slack: "{{ settings.channel }}", text: "Paid {{ inputs.who }}."}]}
  - {id: code, agent: clerk, ask: "Code it."}
  - id: book
    each: "{{ inputs.names }}"
    skill: desk.read
    with: {name: "{{ item }}"}
    lock: ["ledger:{{ item }}"]
    compensate: {skill: desk.read, with: {name: "{{ output }}"}}
    fallback: {skill: desk.read, with: {name: "instead of {{ item }}"}}
"""
AGENTS = """
department: desk
tiers: [small]
agents:
  - {id: clerk, role: Codes., offline: desk.none, instructions: "Be exact.", tools: [desk.read]}
"""


@pytest.fixture
def worked(site: Site) -> tuple[Definition, str]:
    """A run of steps that ask, tell, let an agent work and can be undone."""
    site.agents(AGENTS)
    own = site.definition(WORKING)
    run = site.open(own, who="ann", names=["one", "two"])
    site.approve(run, "pay", by="bob")
    for step in ("tell", "code"):
        site.step(run, step)
    site.all_of(run, "book")
    site.close(run)
    return own, run


@pytest.mark.parametrize(
    ("old", "new", "differences"),
    [
        ("Paid {{", "Settled {{", [("tell", None, "its notify[0].text", "Paid ann.", "Settled ann.")]),
        ('channel: "#pay"', 'channel: "#all"', [("tell", None, "its notify[0].slack", "#pay", "#all")]),
        ('"{{ settings.channel }}"', '"#pay"', []),
        ('ask: "Pay {{', 'ask: "Really pay {{', [("pay", None, "its human.ask", "Pay ann?", "Really pay ann?")]),
        ("[bob]", "[eve]", [("pay", None, "its human.assignees[0]", "bob", "eve")]),
        ("[bob]", "[bob, eve]", [("pay", None, "its human.assignees[1]", None, "eve")]),
        ("within: 1h", "within: 2h", [("pay", None, "its human.within", 3600.0, 7200.0)]),
        ('"#late"', '"#later"', [("pay", None, "its human.notify[0].slack", "#late", "#later")]),
        (
            'compensate: {skill: desk.read, with: {name: "{{ output }}"}}',
            "compensate: {skill: desk.refuse}",
            [("book", 0, "its compensate.skill", "desk.read", "desk.refuse")]
            + [("book", n, "its compensate.with.name", "{{ output }}", None) for n in (0, 1)],
        ),
        (
            '"{{ output }}"',
            '"{{ output }}!"',
            [("book", n, "its compensate.with.name", "{{ output }}", "{{ output }}!") for n in (0, 1)],
        ),
        (
            "instead of",
            "not",
            [
                ("book", n, "its fallback.with.name", f"instead of {it}", f"not {it}")
                for n, it in ((0, "one"), (1, "two"))
            ],
        ),
        (
            "ledger:",
            "books:",
            [("book", n, "its lock[0]", f"ledger:{it}", f"books:{it}") for n, it in ((0, "one"), (1, "two"))],
        ),
        (
            'ask: "Code it."',
            'ask: "Code it.", timeout: 5m, returns: {type: string}, retry: {times: 7}',
            [
                ("code", None, "its retry.times", 0, 7),
                ("code", None, "its timeout", None, 300.0),
                ("code", None, "its returns.type", None, "string"),
            ],
        ),
    ],
)
def test_whatever_a_step_would_do_otherwise_is_told_with_its_place(
    site: Site, worked: tuple[Definition, str], old: str, new: str, differences: list[tuple[Any, ...]]
) -> None:
    own, run = worked
    assert old in WORKING
    assert told(again(site, run, own, WORKING.replace(old, new))) == differences


@pytest.mark.parametrize(
    ("old", "new", "differences"),
    [
        ("Be exact.", "Be quick.", [("the agent clerk's instructions", "Be exact.", "Be quick.")]),
        ("tools: [desk.read]", "tools: []", [("the agent clerk's tools[0]", "desk.read", None)]),
        ("[small]", "[large, small]", [("the agent clerk's tiers[0]", "small", "large"), (..., None, "small")]),
        ("id: clerk,", "id: clerk, limits: {requests: 3},", [("the agent clerk's limits.requests", 10, 3)]),
        ("id: clerk,", "id: clerk, title: Ada,", []),
    ],
)
def test_whatever_its_agent_would_do_otherwise_is_told(
    site: Site, worked: tuple[Definition, str], old: str, new: str, differences: list[tuple[Any, ...]]
) -> None:
    own, run = worked
    assert old in AGENTS
    site.agents(AGENTS.replace(old, new))
    found = told(again(site, run, own, WORKING))
    assert {each[:2] for each in found} <= {("code", None)}
    assert [each[3:] for each in found] == [each[1:] for each in differences]
    assert all(each[2] == said[0] for each, said in zip(found, differences, strict=True) if said[0] is not ...)


def test_what_a_run_was_done_with_and_nothing_changed_differs_in_nothing(
    site: Site, worked: tuple[Definition, str]
) -> None:
    own, run = worked
    assert again(site, run, own).differences == []
    other = again(site, run, own, WORKING + "description: Another version of the same.\n")
    assert (other.differences, other.definition == own.hash) == ([], False)


def test_a_run_without_events_is_none() -> None:
    with pytest.raises(MusterError, match="no events"):
        debug([], None, None, None)  # type: ignore[arg-type]
