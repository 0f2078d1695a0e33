"""`muster output`: what a run, or one of its steps, gave back, and the tables of that in `muster show`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.markup import escape

from muster.cli.connections import open_queries
from muster.cli.output import counted, emit, harmless, open_table
from muster.errors import MusterError
from muster.events.costs import cost_in_words
from muster.events.event_summary import shortened
from muster.events.log import EventLog
from muster.events.model import Event
from muster.events.payloads.base import payload_of
from muster.events.payloads.work import ModelCalled, ToolCalled
from muster.events.projections import money
from muster.events.state import RunState, fold
from muster.language.problems import did_you_mean

if TYPE_CHECKING:
    from rich.table import Table


def print_output(id: str, step: str | None, *, as_json: bool) -> None:
    """Print what a step gave back, or every step by id: JSON, but for a text alone, which is printed as it is.

    Raises:
        MusterError: there is no such run or step, the log was altered, or the step has given nothing back.
    """
    with open_queries() as (queries, database):
        row = queries.run(id)
        if (fault := EventLog(database).verify(row.id)) is not None:
            raise MusterError(
                f"The log of {row.id} is not as it was written: {fault.message}",
                remedy=f"`muster show {row.id}` shows what is left, `muster audit` what to do.",
            )
        state = fold(queries.timeline(row.id))
    steps = state.steps
    if step is None:
        emit(outputs_of(state))
        return
    if step not in steps:
        raise MusterError(
            f"Nothing is known of a step {step!r} in {row.id}.",
            remedy=did_you_mean(step, steps) or f"`muster show {row.id}` shows what was done.",
        )
    given = steps[step]
    if given.status != "succeeded":
        raise MusterError(
            f"Step {step} of {row.id} has given nothing back: it is {given.status}.",
            remedy=f"`muster show {row.id}` shows why.",
        )
    if isinstance(given.output, str) and not as_json:
        sys.stdout.write(harmless(given.output) + "\n")
    else:
        emit(given.output)


@dataclass
class Used:
    """What the agents of one step used."""

    calls: int = 0
    """Model calls."""
    unpriced: int = 0
    """Those of them whose price is not known."""
    cost_usd: Decimal = Decimal(0)
    """US dollars, for the other calls."""
    tokens: dict[str, int] = field(default_factory=dict)
    """By what they were used for: `input_tokens`, `output_tokens`."""
    tools: dict[str, int] = field(default_factory=dict)
    """How often each tool was called."""


def outputs_of(state: RunState) -> dict[str, object]:
    """The output of each step that succeeded, by id."""
    return {name: step.output for name, step in state.steps.items() if step.status == "succeeded"}


def used_by(events: Iterable[Event]) -> dict[str, Used]:
    """What the agents of each step used, for the steps whose agents asked a model."""
    by_step: dict[str, Used] = {}
    for event in events:
        match payload_of(event):
            case ModelCalled() as said:
                used = by_step.setdefault(said.step, Used())
                used.calls, used.unpriced = used.calls + 1, used.unpriced + (said.cost is None)
                used.cost_usd += money(said.cost)
                for name, amount in (said.usage or {}).items():
                    used.tokens[name] = used.tokens.get(name, 0) + amount
            case ToolCalled() as said:
                tools = by_step.setdefault(said.step, Used()).tools
                tools[said.tool] = tools.get(said.tool, 0) + 1
    return by_step


def outputs_table(outputs: Mapping[str, object]) -> Table:
    """One row for each step, with a short form of its output."""
    table = open_table("step", folded=["gave back"])
    for name, output in outputs.items():
        table.add_row(escape(name), escape(shortened(output)))
    return table


def used_table(used: Mapping[str, Used]) -> Table:
    """One row for each step whose agents asked a model."""
    table = open_table("agent step", "models", "tokens", "tools")
    for name, usage in used.items():
        table.add_row(
            escape(name),
            f"{counted(usage.calls, 'call')}, {cost_in_words(usage.cost_usd, usage.calls, usage.unpriced)}",
            f"{usage.tokens.get('input_tokens', 0)} in, {usage.tokens.get('output_tokens', 0)} out",
            escape(", ".join(f"{tool} ×{count}" if count > 1 else tool for tool, count in usage.tools.items())),
        )
    return table
