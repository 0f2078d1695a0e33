"""A run as a table: one row for each step, or for each item with its steps across."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from muster.events.model import Event, EventType
from muster.events.queries import StepRow

MARKS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "set_aside": ("!", "yellow"),
    "skipped": ("–", "dim"),
    "waiting": ("?", "magenta"),
    "started": ("…", "cyan"),
    "retrying": ("↻", "yellow"),
}
"""Status of a step: its mark and colour."""

WORDS = {"set_aside": "set aside", "waiting": "waits for a person", "started": "at work"}


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
        busy = live and own.ended_at is None
        begin: RenderableType = Spinner("dots", style="cyan") if busy and own.status != "waiting" else mark(own.status)
        table.add_row(begin, name, own.kind or "", _counts(own, items), _by(own, items))
    return table


def items_table(steps: Sequence[StepRow], events: Iterable[Event]) -> Table | None:
    """One row for each item of the run's fan-outs, its steps across; None when nothing fanned out."""
    fanned = [(name, {row.index: row for row in items}) for name, _, items in _grouped(steps) if items]
    if not fanned:
        return None
    labels, reasons = _labels(events, fanned[0][0])
    table = Table(
        "", *(name.replace("_", " ") for name, _ in fanned), "", header_style="bold", box=None, padding=(0, 1)
    )
    for index in sorted({index for _, rows in fanned for index in rows}):
        cells = [mark(rows[index].status) if index in rows else "" for _, rows in fanned]
        table.add_row(escape(labels.get(index, str(index))), *cells, f"[dim]{escape(reasons.get(index, ''))}[/]")
    return table


def legend() -> str:
    """What the marks mean."""
    return "   ".join(f"[{colour}]{symbol}[/] {WORDS.get(name, name)}" for name, (symbol, colour) in MARKS.items())


def result(steps: Sequence[StepRow], events: Sequence[Event]) -> RenderableType:
    """What a finished run did."""
    items = items_table(steps, events)
    above: list[RenderableType] = [items, ""] if items else []
    return Group(*above, steps_table(steps), f"\n{legend()}")


def _grouped(steps: Sequence[StepRow]) -> list[tuple[str, StepRow, list[StepRow]]]:
    groups: dict[str, list[StepRow]] = {}
    for row in steps:
        groups.setdefault(row.step, []).append(row)
    return [
        (name, next((row for row in rows if row.index < 0), rows[0]), [row for row in rows if row.index >= 0])
        for name, rows in groups.items()
    ]


def _counts(own: StepRow, items: Sequence[StepRow]) -> str:
    if not items:
        return word(own.status)
    counts: dict[str, int] = {}
    for row in items:
        counts[row.status or "started"] = counts.get(row.status or "started", 0) + 1
    total = f" of {own.length}" if own.length else ""
    return ", ".join(f"{count} {word(status)}" for status, count in counts.items()) + f"[dim]{total}[/]"


def _by(own: StepRow, items: Sequence[StepRow]) -> str:
    makers = sorted({row.produced_by for row in (own, *items) if row.produced_by})
    fallback = " (fallback)" if any(row.fallback for row in (own, *items)) else ""
    return f"[dim]{escape(', '.join(makers))}{fallback}[/]"


def _labels(events: Iterable[Event], step: str) -> tuple[dict[int, str], dict[int, str]]:
    labels: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for event in events:
        data = event.data
        index = data.get("index")
        if not isinstance(index, int):
            continue
        if event.type == EventType.STEP_STARTED and data.get("step") == step:
            labels.setdefault(index, _label(data.get("input")))
        elif event.type == EventType.STEP_SET_ASIDE:
            labels.setdefault(index, _label(data.get("item")))
            reasons[index] = _reason(data)
        elif event.type == EventType.APPROVAL_ANSWERED:
            verdict = "approved" if data.get("approved") else "rejected"
            reasons[index] = f"{verdict} by {data.get('by') or 'nobody in time'}"
    return labels, reasons


def _label(value: Any) -> str:
    if isinstance(value, dict) and value:
        return _label(next(iter(value.values())))
    if isinstance(value, str):
        return PurePosixPath(unquote(urlparse(value).path) or value).name[:40] if "/" in value else value[:40]
    return str(value)[:40]


def _reason(data: Any) -> str:
    findings = data.get("findings") or []
    if findings:
        first = findings[0]
        more = f" (+{len(findings) - 1})" if len(findings) > 1 else ""
        return f"{first.get('rule')}: {first.get('message')}{more}"
    error = data.get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else str(error or "")
