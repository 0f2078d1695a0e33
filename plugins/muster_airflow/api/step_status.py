"""How the steps of a run stand, in the order of its definition, those that have not begun included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from muster.events.projections import NO_INDEX
from muster.events.queries import StepRow

ITEMS_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One step of a run."""

    step: str
    title: str
    kind: str
    status: str
    row: StepRow | None
    """None for a step that has not begun."""
    items: Sequence[StepRow]
    """What it fanned out to, those that need a look first; at most `ITEMS_SHOWN`."""
    left_out: int
    """Items that are not among them."""
    counts: Mapping[str, int]
    """How many items have which status."""
    calls: int
    """Model calls of the step and its items."""
    cost_usd: Decimal
    produced_by: str
    """What the outputs come from, `rules` or models, each once."""
    fallback: bool
    began: datetime | None
    ended: datetime | None


def standings(definition: Mapping[str, Any], rows: Sequence[StepRow]) -> list[Standing]:
    """The steps of a definition, as its JSON has them, with what the projection says of each."""
    by_step: dict[str, list[StepRow]] = {}
    for row in rows:
        by_step.setdefault(row.step, []).append(row)
    described = {step["id"]: step for step in definition.get("steps", [])}
    order = [*described, *(name for name in by_step if name not in described)]
    return [_standing(name, described.get(name, {}), by_step.get(name, [])) for name in order]


def _standing(name: str, described: Mapping[str, Any], rows: Sequence[StepRow]) -> Standing:
    own = next((row for row in rows if row.index == NO_INDEX), None)
    items = sorted((row for row in rows if row.index != NO_INDEX), key=lambda row: (_fine(row), row.index))
    began = [row.started_at for row in rows if row.started_at is not None]
    ended = [row.ended_at for row in rows if row.ended_at is not None]
    return Standing(
        step=name,
        title=described.get("title") or name,
        kind=described.get("kind") or (own.kind if own and own.kind else ""),
        status=(own.status if own else None) or ("running" if items else "pending"),
        row=own,
        items=items[:ITEMS_SHOWN],
        left_out=len(items[ITEMS_SHOWN:]),
        counts=Counter(row.status or "pending" for row in items),
        calls=sum(row.calls for row in rows),
        cost_usd=sum((row.cost_usd for row in rows), Decimal(0)),
        produced_by=", ".join(sorted({row.produced_by for row in rows if row.produced_by})),
        fallback=any(row.fallback for row in rows),
        began=min(began, default=None),
        ended=max(ended, default=None) if own is None or own.ended_at or not items else None,
    )


def _fine(row: StepRow) -> bool:
    return row.status in ("succeeded", "approved", "rejected", "skipped")
