"""`human`: a person approves or rejects."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from muster.language.durations import Duration, parse_duration
from muster.language.expressions import is_expression
from muster.language.fields import People, Text
from muster.language.resolved import Resolved, ResolvedTarget
from muster.language.resolved_step import ResolvedStep
from muster.language.step_kind import StepKind, object_of
from muster.language.steps import MappedStep, Target
from muster.yaml_model import YamlModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.language.problems import Problem
    from muster.language.reading import Path
    from muster.language.site_catalog import SiteCatalog
    from muster.language.spot import Spot


class Escalation(YamlModel):
    """Who may answer a question besides, when it has waited for some time. Those before them still may."""

    after: Duration
    """How long after the question."""
    to: People
    """Their user names: a list, or an expression that gives one."""


class Human(YamlModel):
    """A decision by a person. The requester of a run can never approve it."""

    ask: Text
    """The question, in one line."""
    details: Text | None = None
    """What the person needs to know to decide, in Markdown."""
    assignees: People
    """The user names of those who may answer: a list, or an expression that gives one; so may each entry."""
    within: Duration | None = None
    """How long they have; default: as long as it takes."""
    otherwise: Literal["reject"] = "reject"
    """What no answer in time counts as. There is no value that approves."""
    remind: list[Duration] = []
    """How long after the question those it waits for are reminded, once each."""
    escalate: list[Escalation] = []
    """Who may answer besides when nobody has."""
    approvals: int = Field(default=1, ge=1, le=10)
    """How many different people have to approve; 2 is the two-person rule. One rejection is enough to reject."""
    notify: list[Target] = []
    """Where the question, reminders and escalations are sent; default: the Slack channel `#approvals`."""
    announce: bool = True
    """Whether the question is sent there as soon as it is put; `false`: only reminders and escalations are."""
    on_restart: Literal["ask", "keep"] | None = None
    """What becomes of an approval when the run is restarted from one of its steps. `keep`: it stands, wherever the run
    restarts, while exactly the same is asked of the same people, in a fan-out about the same item. `ask`: a restart
    from any step after it begins with the question. Default: it stands when it lies before that step, and is asked
    again when it lies after it."""


class HumanStep(MappedStep):
    """Waits for a person to approve or reject."""

    kind: ClassVar[str] = "human"
    human: Human
    """The question, who may answer, and how long they have."""


class ResolvedEscalation(Resolved):
    """Who may answer besides, after some time."""

    after: float
    """Seconds since the question was put."""
    to: tuple[str, ...] | str
    """User names, or one expression that gives them."""


class ResolvedHuman(Resolved):
    """A decision by a person."""

    ask: str
    details: str | None = None
    assignees: tuple[str, ...] | str
    """User names, or one expression that gives them."""
    within: float | None = None
    """Seconds; None for as long as it takes."""
    otherwise: Literal["reject"] = "reject"
    remind: tuple[float, ...] = ()
    """Seconds after which those who may answer are reminded, ascending."""
    escalate: tuple[ResolvedEscalation, ...] = ()
    """Ascending."""
    approvals: int = 1
    """How many different people have to approve."""
    notify: tuple[ResolvedTarget, ...] = ()
    """Who is told of the question, of reminders and of escalations."""
    announce: bool = True
    """Whether they are told of the question as it is put."""
    on_restart: Literal["ask", "keep"] | None = None
    """Whether an approval is asked again or stands; None: as the place of the step says from which the run restarts."""


class ResolvedHumanStep(ResolvedStep):
    """Waits for a person to approve or reject."""

    done_by = "people"
    plain_output = frozenset({"approved", "by", "by_id", "how", "at", "approvers"})

    kind: Literal["human"]
    human: ResolvedHuman


def _resolve(step: HumanStep, catalog: SiteCatalog) -> dict[str, object]:
    human = step.human
    levels = [ResolvedEscalation(after=parse_duration(level.after), to=_people(level.to)) for level in human.escalate]
    return {
        "human": ResolvedHuman(
            ask=human.ask,
            details=human.details,
            assignees=_people(human.assignees),
            within=parse_duration(human.within) if human.within else None,
            remind=tuple(sorted({parse_duration(after) for after in human.remind})),
            escalate=tuple(sorted(levels, key=lambda level: level.after)),
            approvals=human.approvals,
            notify=tuple(map(ResolvedTarget.of, human.notify)),
            announce=human.announce,
            on_restart=human.on_restart,
        )
    }


def _people(people: list[str] | str) -> tuple[str, ...] | str:
    return people if isinstance(people, str) else tuple(people)


def _check(step: HumanStep, spot: Spot) -> Iterator[Problem]:
    """What of a question could never happen, or could never be answered."""
    human = step.human
    if not human.assignees:
        yield spot.problem("nobody may answer: `assignees` is empty", "human", "assignees")
    end = parse_duration(human.within) if human.within else None
    times: list[tuple[str, Path]] = [(after, ("remind", number)) for number, after in enumerate(human.remind)]
    times += [(level.after, ("escalate", number, "after")) for number, level in enumerate(human.escalate)]
    for after, place in times:
        if end is not None and parse_duration(after) >= end:
            message = f"`{after}` is never reached: no answer within `{human.within}` is a rejection"
            yield spot.problem(message, "human", *place)
    for number, level in enumerate(human.escalate):
        if not level.to:
            yield spot.problem("it is escalated to nobody: `to` is empty", "human", "escalate", number, "to")
    for people, place in _named(human):
        for number, name in enumerate(people if isinstance(people, list) else filter(None, [people])):
            if not name.strip():
                message = "a person has no empty user name: nobody could answer"
                yield spot.problem(message, "human", *place, number)
            elif "," in name and not is_expression(name):
                message = f"`{name}` is one user name: nobody could answer"
                yield spot.problem(message, "human", *place, number, suggestion="Write a list: `[anna, ben]`.")
    yield from spot.addresses(human.notify, "human", "notify")
    known = _known_people(human)
    if known and len(known) < human.approvals:
        message = f"{human.approvals} people have to approve, and only {len(known)} may answer"
        yield spot.problem(message, "human", "approvals", suggestion="Name more people, or ask for fewer.")


def _named(human: Human) -> list[tuple[list[str] | str, Path]]:
    """Who may ever answer, and where it is said."""
    levels = [(level.to, ("escalate", number, "to")) for number, level in enumerate(human.escalate)]
    return [(human.assignees, ("assignees",)), *levels]


def _known_people(human: Human) -> set[str] | None:
    """Everybody who may ever answer; None when expressions say who."""
    lists = [[people] if isinstance(people, str) else people for people, _ in _named(human)]
    names = {name.strip() for entry in lists for name in entry}
    return None if any(is_expression(name) for name in names) else names


KIND = StepKind(
    model=HumanStep,
    resolved=ResolvedHumanStep,
    place=30,
    parts=(Human, Escalation),
    expressions=frozenset({"human"}),
    resolve=_resolve,
    gives=lambda step, catalog: object_of({*ResolvedHumanStep.plain_output, "note"}),
    check=_check,
    example="""automation: ask_first
inputs:
  uri: { type: string }
  boss: { type: string, default: office-lead }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: approve
    human:
      ask: "Answer {{ steps.read.sender }}?"
      details: |
        | sender | amount |
        | --- | --- |
        | {{ steps.read.sender }} | {{ steps.read.amount | money }} |
      assignees: "{{ [inputs.boss, 'deputy'] }}"
      within: 3d
      otherwise: reject
      approvals: 2
      remind: [4h, 1d]
      escalate:
        - { after: 2d, to: [director] }
      notify: [{ slack: "#letters" }]
      announce: false
      on_restart: keep

  - id: file
    skill: office.file_letter
    with: { letter: "{{ steps.read }}" }
""",
    output="`how` is `person`, `timeout`, or `refused` for the requester's own approval. `by` is null after a timeout.",
    output_example=(
        '{"approved": true, "by": "office-lead", "how": "person", "note": null, "at": '
        '"2026-01-31T09:30:00+00:00", "approvers": ["office-lead"]}'
    ),
)
