"""A run as a table: one row for each step, or for each item with its steps across."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlparse

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from muster.events.model import Event
from muster.events.payloads.base import payload_of
from muster.events.payloads.people import ApprovalAnswered
from muster.events.payloads.runs import RunOpened
from muster.events.payloads.work import StepExpanded, StepExtended, StepSetAside
from muster.events.queries import StepRow, answered

MARKS = {
    "succeeded": ("✓", "green"),
    "approved": ("✓", "green"),
    "rejected": ("⊘", "red"),
    "failed": ("✗", "red"),
    "set_aside": ("!", "yellow"),
    "skipped": ("–", "dim"),
    "undone": ("↶", "yellow"),
    "stopped": ("■", "red"),
    "waiting": ("?", "magenta"),
    "running": ("…", "cyan"),
    "retrying": ("↻", "yellow"),
}
"""Status of a step: its mark and colour."""

WORDS = {
    "set_aside": "set aside",
    "waiting": "waiting for a person",
    "running": "at work",
    "stopped": "stopped without an outcome",
}


def mark(status: str | None) -> str:
    """A coloured mark for a status."""
    symbol, colour = MARKS.get(status or "", ("·", "dim"))
    return f"[{colour}]{symbol}[/]"


def word(status: str | None) -> str:
    """A coloured word for a status."""
    colour = MARKS.get(status or "", ("", "dim"))[1]
    return f"[{colour}]{WORDS.get(status or '', status or 'not yet')}[/]"


def steps_table(steps: Sequence[StepRow], *, live: bool = False) -> RenderableType:
    """One row for each step with how many of its items ended how."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    for name, own, items in _grouped(steps):
        status = own.status if own.status not in (None, "running") or not items else _common(items)
        busy = live and status in (None, "running", "retrying")
        begin: RenderableType = Spinner("dots", style="cyan") if busy else mark(status)
        table.add_row(begin, name, _kind(own, items), _counts(own, items), _by(own, items))
    return table


def items_table(steps: Sequence[StepRow], events: Iterable[Event]) -> Table | None:
    """One row for each item of the run's fan-outs, its steps across; None when nothing fanned out."""
    fanned = [(name, {row.index: row for row in items}) for name, _, items in _grouped(steps) if items]
    if not fanned:
        return None
    labels, reasons = _labels(events, fanned[0][0])
    table = Table(header_style="bold", box=None, padding=(0, 1))
    table.add_column("item", overflow="fold")
    for name, _ in fanned:
        table.add_column(name.replace("_", " "), justify="center", no_wrap=True)
    table.add_column("", overflow="fold")
    for index in sorted({index for _, rows in fanned for index in rows}):
        cells = [mark(rows[index].status) if index in rows else "" for _, rows in fanned]
        table.add_row(escape(labels.get(index, f"item {index}")), *cells, f"[dim]{escape(reasons.get(index, ''))}[/]")
    return table


def legend() -> str:
    """What the marks mean."""
    return "   ".join(f"[{colour}]{symbol}[/] {WORDS.get(name, name)}" for name, (symbol, colour) in MARKS.items())


def result(steps: Sequence[StepRow], events: Sequence[Event]) -> RenderableType:
    """What a finished run did."""
    return Group(run_chart(steps, events), f"\n{legend()}")


def run_chart(steps: Sequence[StepRow], events: Sequence[Event], *, live: bool = False) -> RenderableType:
    """The items of a run's fan-outs, then its steps."""
    told = answered(steps, events)
    items = items_table(told, events)
    above: list[RenderableType] = [items, ""] if items else []
    return Group(*above, steps_table(told, live=live))


def _grouped(steps: Sequence[StepRow]) -> list[tuple[str, StepRow, list[StepRow]]]:
    groups: dict[str, list[StepRow]] = {}
    for row in steps:
        groups.setdefault(row.step, []).append(row)
    return [
        (name, next((row for row in rows if row.index < 0), rows[0]), [row for row in rows if row.index >= 0])
        for name, rows in groups.items()
    ]


def _kind(own: StepRow, items: Sequence[StepRow]) -> str:
    return own.kind or next((row.kind for row in items if row.kind), "")


def _common(items: Sequence[StepRow]) -> str | None:
    """The status of a fan-out that has not ended: that of its least finished item."""
    seen = {row.status or "running" for row in items}
    under_way = ("running", "retrying", "waiting", "stopped")
    ended = ("failed", "succeeded", "approved", "rejected", "set_aside", "undone", "skipped")
    return next((status for status in (*under_way, *ended) if status in seen), None)


def _counts(own: StepRow, items: Sequence[StepRow]) -> str:
    if not items:
        return word(own.status)
    counts: dict[str, int] = {}
    for row in items:
        counts[row.status or "running"] = counts.get(row.status or "running", 0) + 1
    total = f" of {own.length}" if own.length else ""
    return ", ".join(f"{count} {word(status)}" for status, count in counts.items()) + f"[dim]{total}[/]"


def _by(own: StepRow, items: Sequence[StepRow]) -> str:
    makers = sorted({row.produced_by for row in (own, *items) if row.produced_by})
    fallback = " (fallback)" if any(row.fallback for row in (own, *items)) else ""
    return f"[dim]{escape(', '.join(makers))}{fallback}[/]"


def _labels(events: Iterable[Event], step: str) -> tuple[dict[int, str], dict[int, str]]:
    labels: dict[int, str] = {}
    reasons: dict[int, str] = {}
    inputs: Mapping[str, object] = {}
    for event in events:
        match payload_of(event):
            case RunOpened(inputs=given):
                inputs = given or {}
            case StepExpanded() as said if said.step == step:
                names = {index: name for index, name in enumerate(said.names or ()) if name is not None}
                labels = names or _named_by_inputs(inputs, said.length)
            case StepExtended() as said if said.step == step and isinstance(said.names, list):
                labels |= enumerate(said.names, said.first)
            case StepSetAside(index=int(index)) as said:
                reasons[index] = _reason(said)
            case ApprovalAnswered(index=int(index)) as said:
                verdict = "approved" if said.approved else "rejected"
                note = f": {said.note}" if said.note else ""
                reasons[index] = f"{verdict} by {said.by or 'nobody in time'}{note}"
    return labels, reasons


def _named_by_inputs(inputs: Mapping[str, object], length: int | None) -> dict[int, str]:
    # The log has the length of a fan-out and not its list, so the only input of that length is taken for it.
    lists = [value for value in inputs.values() if isinstance(value, list) and len(value) == length]
    return {index: _label(value) for index, value in enumerate(lists[0])} if len(lists) == 1 else {}


def _label(value: object) -> str:
    if isinstance(value, dict) and value:
        return _label(next(iter(value.values())))
    if isinstance(value, str):
        return PurePosixPath(unquote(urlparse(value).path) or value).name[:40] if "/" in value else value[:40]
    return str(value)[:40]


def _reason(said: StepSetAside) -> str:
    if said.findings:
        first = said.findings[0]
        more = f" (+{len(said.findings) - 1})" if len(said.findings) > 1 else ""
        return f"{first.get('rule')}: {first.get('message')}{more}"
    return said.error.message
