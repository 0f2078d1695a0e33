"""`echo`: a kind of step that nothing of Muster knows; it says something again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from muster.language.fields import Text
from muster.language.problems import Problem
from muster.language.resolved_step import ResolvedStep
from muster.language.spot import Spot
from muster.language.step_kind import StepKind
from muster.language.steps import WorkStep

if TYPE_CHECKING:
    from muster.language.site_catalog import SiteCatalog


class EchoStep(WorkStep):
    """Says something again."""

    kind: ClassVar[str] = "echo"
    echo: Text
    """What is said."""
    times: int = Field(default=1, ge=1, le=9)
    """How often."""


class ResolvedEcho(ResolvedStep):
    """Says something again."""

    kind: Literal["echo"]
    echo: str
    times: int


def _resolve(step: EchoStep, catalog: SiteCatalog) -> dict[str, Any]:
    return {"echo": step.echo, "times": step.times}


def _check(step: EchoStep, spot: Spot) -> Iterator[Problem]:
    if step.echo.isupper():
        yield spot.problem("nobody shouts here", "echo")


KIND = StepKind(
    model=EchoStep,
    resolved=ResolvedEcho,
    place=80,
    expressions=frozenset({"echo"}),
    lanes=("worker", "async"),
    resolve=_resolve,
    check=_check,
    example="""automation: call
inputs:
  name: { type: string }
steps:
  - id: say
    echo: "Hello {{ inputs.name }}"
    times: 2
""",
    output="What was said, as often as it was.",
    output_example='["Hello you", "Hello you"]',
)
