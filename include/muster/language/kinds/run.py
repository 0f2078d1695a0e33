"""`run`: a run of another automation."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from muster.language.durations import Duration
from muster.language.fields import Values
from muster.language.resolved_step import ResolvedStep
from muster.language.step_kind import StepKind, object_of
from muster.language.steps import MappedStep
from muster.yaml_model import Name


class RunStep(MappedStep):
    """Starts a run of another automation and waits for its end, without a worker.

    The output is `run` (its id), `automation`, `status`, `counts`, and `outputs`: what its steps gave back, by id,
    personal data left out. When the run does not succeed, the step fails. When this automation's run is undone, what
    the other one did is undone as well, by the compensations of its own steps.
    """

    kind: ClassVar[str] = "run"
    run: Name
    """The automation's name. The run belongs to the version that is current when it begins."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """Its inputs by name. A decimal or a date is given as text; `| float` makes a number of the decimal."""
    timeout: Duration | None = None
    """How long it may take from being asked for to its end; then it is cancelled and the step fails. Default: as long
    as it takes."""


class ResolvedRun(ResolvedStep):
    """Starts a run of another automation."""

    done_by = "runs"
    plain_output = frozenset({"run", "automation", "status", "counts"})

    kind: Literal["run"]
    run: str
    arguments: dict[str, object] = {}


KIND = StepKind(
    model=RunStep,
    resolved=ResolvedRun,
    place=70,
    lanes=("worker",),
    gives=lambda step, catalog: object_of({*ResolvedRun.plain_output, "outputs"}),
    resolve=lambda step, catalog: {"run": step.run, "arguments": step.arguments},
    example="""automation: letters_of_the_day
inputs:
  letters: { type: array, items: { type: string }, default: [] }
steps:
  - id: file
    run: file_letters
    with: { letters: "{{ inputs.letters }}" }
    timeout: 2h

  - id: tell
    notify: [{ slack: "#office", text: "{{ steps.file.outputs.file | present | length }} letters filed" }]
""",
    output="`outputs` is what the steps of that run put out, by id; personal data is left out.",
    output_example=(
        '{"run": "file_letters/child__1f0a", "automation": "file_letters", "status": "succeeded", '
        '"counts": {"succeeded": 2, "failed": 0, "skipped": 0, "set_aside": 0, "undone": 0}, "outputs": '
        '{"read": [{"uri": "letters/1.txt", "amount": "1000", "sender": "post@example.com"}], "file": '
        '["small/letters/1.txt"]}}'
    ),
)
