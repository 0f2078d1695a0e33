"""`branch`: takes one of several ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from muster.language.resolved import Resolved
from muster.language.resolved_step import ResolvedStep
from muster.language.step_kind import StepKind
from muster.language.steps import StepBase, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from muster.language.problems import Problem
    from muster.language.spot import Spot


class BranchStep(StepBase):
    """Takes the first way whose `when` is true; steps reachable only through the other ways are skipped."""

    kind: ClassVar[str] = "branch"
    branch: Annotated[list[Way], Field(min_length=1)]
    """The ways, from first to last."""

    @property
    def ways(self) -> Sequence[Way]:
        """Its ways, from first to last."""
        return self.branch


class ResolvedWay(Resolved):
    """One way out of a branch; `when` is None on the way taken otherwise."""

    when: bool | str | None
    to: tuple[str, ...]


class ResolvedBranch(ResolvedStep):
    """Takes the first way whose `when` is true."""

    chooses = True

    kind: Literal["branch"]
    branch: tuple[ResolvedWay, ...]

    @property
    def conditions(self) -> Sequence[bool | str]:
        """What it decides by which steps go ahead."""
        return [way.when for way in self.branch if way.when is not None]


def _check(step: BranchStep, spot: Spot) -> Iterator[Problem]:
    for number, way in enumerate(step.branch):
        if way.when is None and number < len(step.branch) - 1:
            message = "this way has no `when`, so those below it are never taken"
            yield spot.problem(message, "branch", number, suggestion="Move it to the end.")
        yield from spot.steps(way.to, "branch", number, "to")


KIND = StepKind(
    model=BranchStep,
    resolved=ResolvedBranch,
    place=50,
    parts=(Way,),
    expressions=frozenset({"branch"}),
    resolve=lambda step, catalog: {"branch": tuple(ResolvedWay(when=way.when, to=tuple(way.to)) for way in step.ways)},
    check=_check,
    example="""automation: two_ways
inputs:
  uri: { type: string }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: choose
    branch:
      - when: "{{ steps.read.amount > settings.limit }}"
        to: approve
      - to: file

  - id: approve
    human: { ask: "Accept {{ steps.read.amount }}?", assignees: [office-lead] }

  - id: file
    skill: office.file_letter
    with: { letter: "{{ steps.read }}" }

  - id: done
    after: [approve, file]
    notify: [{ slack: "#office", text: "Done with {{ inputs.uri }}" }]
""",
    output="The ids of the steps it goes on with.",
    output_example='["file"]',
)
