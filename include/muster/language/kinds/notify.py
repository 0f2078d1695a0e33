"""`notify`: sends notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from muster.language.channels import CHANNELS
from muster.language.resolved import ResolvedTarget
from muster.language.resolved_step import ResolvedStep
from muster.language.step_kind import StepKind
from muster.language.steps import Target, WorkStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.language.problems import Problem
    from muster.language.spot import Spot


class NotifyStep(WorkStep):
    """Sends notices."""

    kind: ClassVar[str] = "notify"
    notify: Annotated[list[Target], Field(min_length=1)]
    """The notices to send."""


class ResolvedNotify(ResolvedStep):
    """Sends notices. When it fails nothing is undone: notices that cannot be sent stay in the outbox."""

    is_harmless = True

    kind: Literal["notify"]
    notify: tuple[ResolvedTarget, ...]


def _check(step: NotifyStep, spot: Spot) -> Iterator[Problem]:
    for position, target in enumerate(step.notify):
        if ResolvedTarget.of(target).text is None:
            yield spot.problem("`text` is missing: what the notice says", "notify", position)
    yield from spot.addresses(step.notify, "notify")


_CARRIERS = ", ".join(f"`{channel.carrier}`" for channel in CHANNELS.values())

KIND = StepKind(
    model=NotifyStep,
    resolved=ResolvedNotify,
    place=40,
    parts=tuple(channel.model for channel in CHANNELS.values()),
    expressions=frozenset({"notify"}),
    lanes=("async", "worker"),
    resolve=lambda step, catalog: {"notify": tuple(map(ResolvedTarget.of, step.notify))},
    check=_check,
    example="""automation: greet
steps:
  - id: greet
    notify:
      - { slack: "#office", text: "Good morning." }
      - { email: [front-desk@example.com], subject: Today, text: "Run {{ run.id }} has begun." }
""",
    output=f"One entry for each notice. `delivered_by` is {_CARRIERS}, or `outbox` where nothing is connected.",
    output_example=(
        '[{"delivered_by": "outbox", "target": "#office", "reference": "outbox/1", "note": "Kept in the '
        'outbox: nobody has set up slack here.", "at": "2026-01-31T09:30:00Z", "repeated": false}]'
    ),
)
