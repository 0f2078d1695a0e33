"""What the steps of a run gave back, and what its agents used, for `muster show`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from rich.markup import escape
from rich.table import Table

from muster.cli.output import counted
from muster.events.costs import cost_in_words
from muster.events.event_summary import shortened
from muster.events.model import Event
from muster.events.payloads.base import payload_of
from muster.events.payloads.work import ModelCalled, ToolCalled
from muster.events.projections import money
from muster.events.state import RunState


@dataclass
class Used:
    """What the agents of one step used."""

    calls: int = 0
    """Model calls."""
    unpriced: int = 0
    """Those of them whose price nobody knows."""
    cost_usd: Decimal = Decimal(0)
    """Of the others."""
    tokens: dict[str, int] = field(default_factory=dict)
    """By what they were used for."""
    tools: dict[str, int] = field(default_factory=dict)
    """How often each tool was called."""


def given_back(state: RunState) -> dict[str, object]:
    """What each step that came through gave back, by id."""
    return {name: step.output for name, step in state.steps.items() if step.status == "succeeded"}


def used_by(events: Iterable[Event]) -> dict[str, Used]:
    """What the agents of each step used, for the steps whose agents asked a model."""
    found: dict[str, Used] = {}
    for event in events:
        match payload_of(event):
            case ModelCalled() as said:
                used = found.setdefault(said.step, Used())
                used.calls, used.unpriced = used.calls + 1, used.unpriced + (said.cost is None)
                used.cost_usd += money(said.cost)
                for name, amount in (said.usage or {}).items():
                    used.tokens[name] = used.tokens.get(name, 0) + amount
            case ToolCalled() as said:
                tools = found.setdefault(said.step, Used()).tools
                tools[said.tool] = tools.get(said.tool, 0) + 1
    return found


def outputs_table(outputs: Mapping[str, object]) -> Table:
    """One row for each step with what it gave back, in short."""
    table = Table("step", "gave back", box=None, header_style="bold", padding=(0, 2))
    table.columns[1].overflow = "fold"
    for name, output in outputs.items():
        table.add_row(escape(name), escape(shortened(output)))
    return table


def used_table(used: Mapping[str, Used]) -> Table:
    """One row for each step whose agents asked a model."""
    table = Table("agent step", "models", "tokens", "tools", box=None, header_style="bold", padding=(0, 2))
    for name, it in used.items():
        table.add_row(
            escape(name),
            f"{counted(it.calls, 'call')}, {cost_in_words(it.cost_usd, it.calls, it.unpriced)}",
            f"{it.tokens.get('input_tokens', 0)} in, {it.tokens.get('output_tokens', 0)} out",
            escape(", ".join(f"{tool} ×{count}" if count > 1 else tool for tool, count in it.tools.items())),
        )
    return table
