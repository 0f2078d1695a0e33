"""Automations with questions that hypothesis thinks up, played in memory with every answer, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from hypothesis import strategies as st

from muster.errors import PermanentError
from muster.events.model import Event, EventType
from muster.events.state import RunState
from muster.execution import flow
from muster.execution.kinds.branch import ways_taken
from muster.execution.laying_out import by_item, holds, items_of
from muster.execution.variables import variables_for
from muster.language import load_folder
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep

Kind = Literal["ask", "do", "branch"]
LISTS = ("names", "others")
LAST = "post"
"""What cannot be undone."""


@dataclass(frozen=True)
class Told:
    """A condition: on the answer to a question, on an input, or none that says no."""

    question: str | None = None
    negated: bool = False
    written: str = "{{ inputs.big }}"


@dataclass(frozen=True)
class Step:
    """One step as it is thought up."""

    name: str
    kind: Kind
    each: str | None = None
    after: tuple[str, ...] | None = None
    when: Told | None = None
    ways: tuple[tuple[Told | None, tuple[str, ...]], ...] = ()

    def yaml(self, *, final: bool = False) -> str:
        parts = [f"id: {self.name}"]
        if self.after is not None:
            parts.append(f"after: [{', '.join(self.after)}]")
        if self.each is not None:
            parts.append(f'each: "{{{{ inputs.{self.each} }}}}"')
        if self.when is not None:
            parts.append(f'when: "{self.when.written}"')
        if self.kind == "ask":
            parts.append("human: {ask: Well?, assignees: [boss]}")
        elif self.kind == "branch":
            ways = [f"{{{_when(told)}to: [{', '.join(to)}]}}" for told, to in self.ways]
            parts.append(f"branch: [{', '.join(ways)}]")
        else:
            parts.append("skill: office.do" + (", irreversible: true" if final else ""))
        return "  - {" + ", ".join(parts) + "}\n"


def known() -> dict[str, tuple[Step, ...]]:
    """Automations in which a rejection was passed over once, or might be."""
    one, two, last = Step("s0", "ask"), Step("s1", "ask"), Step(LAST, "do")
    said, refused = Told("s0", False, "{{ steps.s0 }}"), Told("s0", True, "{{ not steps.s0 }}")
    yes, no, fallen = Step("s2", "do"), Step("s3", "do"), Step(LAST, "do", after=("s2",))
    way, either = Step("s1", "branch", ways=((said, ("s2",)), (None, ("s3",)))), Step(LAST, "do", after=("s2", "s3"))
    through = Step("s1", "branch", ways=((refused, ("s2",)), (None, (LAST,))))
    large = Step("s0", "branch", ways=((Told(), ("s1",)), (None, ("s2",))))
    other = Step(LAST, "do", after=("s1", "s2"), when=Told("s2", False, "{{ steps.s2 }}"))
    return {
        "a second question is skipped, and a step tells of the first": (one, two, Step("s2", "do", when=refused), last),
        "a step tells of it": (one, Step("s1", "do", when=refused), last),
        "a second question overrules it": (one, Step("s1", "ask", when=refused), last),
        "a second question is put after an approval": (one, Step("s1", "ask", when=said), last),
        "an item's second question overrules its first": (
            Step("s0", "ask", "names"),
            Step("s1", "ask", "names", when=Told("s0", True, "{{ not steps.s0[index] }}")),
            Step(LAST, "do", "names"),
        ),
        "so is one about items": (one, Step("s1", "ask", "names", when=said), Step(LAST, "do", "names")),
        "the ways of a branch join again": (one, way, yes, no, either),
        "the other way of a branch goes on": (one, through, yes, fallen),
        "somebody else is asked on the other way of a branch": (one, through, Step("s2", "ask"), fallen),
        "nobody is asked on the other way": (large, two, yes, Step(LAST, "do", after=("s1", "s2"))),
        "the question is about another list": (Step("s0", "ask", "others"), Step(LAST, "do", "names")),
        "a branch takes a second question that waits for the first": (
            one,
            Step("s1", "branch", ways=((refused, ("s3",)), (None, ()))),
            Step("s2", "ask"),
            Step("s3", "ask", after=("s0",)),
            last,
        ),
        "another question is named": (one, Step("s1", "do"), Step("s2", "ask", after=()), other),
    }


def _when(told: Told | None) -> str:
    return f'when: "{told.written}", ' if told is not None else ""


@st.composite
def steps(draw: st.DrawFn) -> tuple[Step, ...]:
    """Questions, work and branches in any order; last what cannot be undone."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 5)))] + [LAST]
    found: list[Step] = []
    for position, name in enumerate(names):
        kind: Kind = "do" if name == LAST else draw(st.sampled_from(["ask", "ask", "ask", "do", "branch"]))
        each = draw(st.sampled_from([None, None, None, None, "names", "names", "others"])) if kind != "branch" else None
        after = (
            draw(st.none() | st.lists(st.sampled_from(names[:position]), unique=True, max_size=3)) if position else None
        )
        told = _told(found, each)
        later = st.lists(st.sampled_from(names[position + 1 :] or names), unique=True, max_size=2)
        ways = ()
        if kind == "branch":
            asks = _told(found, None)
            ways = ((draw(asks), tuple(draw(later))), (draw(st.none() | asks), tuple(draw(later))))
        found.append(
            Step(
                name,
                kind,
                each,
                None if after is None else tuple(after),
                draw(st.none() | told),
                ways,
            )
        )
    return tuple(found)


def _told(before: list[Step], each: str | None) -> st.SearchStrategy[Told]:
    found = [Told()]
    for step in before:
        if step.kind == "ask":
            for word in ("", "not "):
                one = f"steps.{step.name}"
                inner = f"({one} and {one}[index])" if each is not None and each == step.each else one
                found.append(Told(step.name, bool(word), f"{{{{ {word}{inner} }}}}"))
    return st.sampled_from(found)


@dataclass(frozen=True)
class Checked:
    """An automation, and what `muster lint` says of it."""

    steps: tuple[Step, ...]
    definition: Definition
    """With what cannot be undone, also where that is refused."""
    ordinary: Definition
    """The same with work that may be done after a rejection."""
    problems: tuple[str, ...]

    @property
    def before(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for step in self.definition.steps:
            found[step.id] = {*step.after}.union(*(found[name] for name in step.after))
        return found

    @property
    def questions(self) -> list[Step]:
        """Those before what cannot be undone."""
        return [step for step in self.steps if step.kind == "ask" and step.name in self.before[LAST]]


def checked(site: Path, written: tuple[Step, ...]) -> Checked | None:
    """The automation, checked; None when something else than its approvals is wrong."""
    head = "inputs:\n  names: {type: array}\n  others: {type: array}\n  big: {type: boolean}\nsteps:\n"
    skill = 'from muster.skills import skill\n\n@skill("office.do")\ndef do() -> str:\n    """Do."""\n    return "x"\n'
    (site / "automations").mkdir(parents=True, exist_ok=True)
    (site / "skills").mkdir(exist_ok=True)
    (site / "skills" / "office.py").write_text(skill)
    for name in ("ordinary", "final"):
        text = f"automation: {name}\n{head}" + "".join(
            step.yaml(final=name == "final" and step.name == LAST) for step in written
        )
        (site / "automations" / f"{name}.yaml").write_text(text)
    catalogue = load_folder(site)
    if "ordinary" not in catalogue.definitions:
        return None
    ordinary = catalogue.definitions["ordinary"]
    final = [step.model_copy(update={"irreversible": step.id == LAST}) for step in ordinary.steps]
    problems = tuple(problem.message for problem in catalogue.problems)
    return Checked(written, ordinary.model_copy(update={"steps": tuple(final)}), ordinary, problems)


ITEMS = {"names": ["x", "y"], "others": ["u", "v"]}
Answers = Mapping[str, tuple[bool, bool]]
"""By question: what is said of its first item, or of all of it, and of its second."""


@dataclass
class Played:
    """What became of one run."""

    did: set[tuple[str, int | None]] = field(default_factory=set)
    answers: dict[tuple[str, int | None], bool] = field(default_factory=dict)
    """Of the questions that were put."""
    not_needed: set[tuple[str, int | None]] = field(default_factory=set)
    """The questions that their own `when` left out."""
    taken: dict[str, list[str]] = field(default_factory=dict)
    """By branch: the steps it went on with."""

    def rejected(self, question: Step) -> bool:
        """True when nothing of the question was approved, and something rejected."""
        said = [answer for (name, _), answer in self.answers.items() if name == question.name]
        left_out = any(name == question.name for name, _ in self.not_needed)
        return bool(said) and not any(said) and not left_out


def plays(automation: Checked, definition: Definition) -> Iterator[Played]:
    """Every run there can be: whatever the people answer, with a large input and with a small one."""
    choices = [[(True, True), (False, False), *([(False, True)] if q.each else [])] for q in automation.questions]
    for said in product(*choices):
        for big in (True, False):
            yield play(definition, dict(zip((q.name for q in automation.questions), said, strict=True)), big=big)


def play(definition: Definition, answers: Answers, *, big: bool) -> Played:
    """One run, decided by what decides a run."""
    state, played = RunState(), Played()
    _note(state, EventType.RUN_OPENED, automation=definition.name, inputs={**ITEMS, "big": big})
    for step in definition.steps:
        try:
            _play(definition, step, state, played, answers)
        except PermanentError as error:
            _note(state, EventType.STEP_FAILED, step=step.id, error={"message": str(error)})
    return played


def _play(definition: Definition, step: ResolvedStep, state: RunState, played: Played, answers: Answers) -> None:
    skip = flow.decide(definition, step, state)
    variables = variables_for(definition, step.references, state, _NoSkills())
    reason = skip.reason if skip else None
    if reason is None and not by_item(step) and not holds(step, variables):
        reason = flow.WHEN
    if reason is not None:
        if reason == flow.WHEN and step.kind == "human":
            played.not_needed.add((step.id, None))
        if step.each is not None:
            _note(state, EventType.STEP_EXPANDED, step=step.id, length=0, indices=[])
        _note(state, EventType.STEP_SKIPPED, step=step.id, reason=reason)
    elif step.each is None:
        _do(step, None, state, played, answers, variables)
    else:
        items = items_of(step, variables)
        reasons = dict(flow.kept_back(definition, step, state, len(items)))
        for index, item in enumerate(items):
            if index not in reasons and by_item(step) and not holds(step, {**variables, "item": item, "index": index}):
                reasons[index] = flow.WHEN
                if step.kind == "human":
                    played.not_needed.add((step.id, index))
        left = [index for index in range(len(items)) if index not in reasons]
        _note(state, EventType.STEP_EXPANDED, step=step.id, length=len(items), indices=left)
        for index, why in reasons.items():
            _note(state, EventType.STEP_SKIPPED, step=step.id, index=index, reason=why)
        for index in left:
            _do(step, index, state, played, answers, variables)


def _do(
    step: ResolvedStep,
    index: int | None,
    state: RunState,
    played: Played,
    answers: Answers,
    variables: Mapping[str, Any],
) -> None:
    output: Any = "x"
    played.did.add((step.id, index))
    if step.kind == "human":
        approved = answers.get(step.id, (True, True))[index or 0]
        played.answers[step.id, index] = approved
        output = {"approved": approved}
    elif step.kind == "branch":
        output = played.taken[step.id] = ways_taken(step, variables)
    _note(state, EventType.STEP_SUCCEEDED, step=step.id, index=index, output=output)


class _NoSkills:
    site = None


def _note(state: RunState, type: str, **data: Any) -> None:
    number = state.version + 1
    event = Event(
        type=type,
        data={"epoch": 0, "index": None, **data},
        position=number,
        stream="final/run",
        version=number,
        id=UUID(int=number),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        correlation="final/run",
        previous_hash="",
        hash="",
    )
    state.apply(event)
