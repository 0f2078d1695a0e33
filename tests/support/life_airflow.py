"""Airflow as lives of runs meet it: its tasks and their trigger rules, and processes that die at any write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from muster.events.model import Event, EventType, NewEvent
from muster.execution.personal import RunLog
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from support.runs import MASTER, Site

Moment = Literal["layout", "laid out", "begin", "end", "completed"]
"""Before a list is laid out, or right after it; before a work item begins, or before its outcome is written; before
it is written that the last one has ended."""
ENDINGS = frozenset({EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SET_ASIDE, EventType.STEP_SKIPPED})
WRITTEN: Mapping[Moment, frozenset[str]] = {
    "layout": frozenset({EventType.STEP_EXPANDED}),
    "laid out": frozenset({EventType.STEP_EXPANDED}),
    "begin": frozenset({EventType.STEP_STARTED}),
    "end": ENDINGS,
    "completed": frozenset({EventType.STEP_COMPLETED}),
}


@dataclass(frozen=True)
class Death:
    """Where the process of a task dies, the first that comes there."""

    step: str
    moment: Moment
    index: int = 0
    """Of the item that begins or ends."""


class Died(BaseException):
    """The process is gone: nothing that handles errors sees it."""


class MortalLog(RunLog):
    """The log as a process has it that may die: from then on it writes nothing any more."""

    def __init__(self, site: Site, death: Death) -> None:
        super().__init__(site.services.database, lambda: MASTER)
        self._death, self.died = death, False
        self.ended: set[tuple[str, int | None]] = set()
        """The work items whose outcome was written."""

    async def aappend(self, stream: str, events: Sequence[NewEvent], **how: Any) -> list[Event]:
        """Write, or die before or after it."""
        met = self._meets(events)
        if self.died or (met and self._death.moment != "laid out"):
            self.died = True
            raise Died
        written = await super().aappend(stream, events, **how)
        self.ended |= {(event.data["step"], event.data["index"]) for event in events if event.type in ENDINGS}
        if met:
            self.died = True
            raise Died
        return written

    def _meets(self, events: Sequence[NewEvent]) -> bool:
        """True when it dies of this; that a layout leaves items out is no end of theirs."""
        moment, step, index = self._death.moment, self._death.step, self._death.index
        if moment == "end" and any(event.type == EventType.STEP_EXPANDED for event in events):
            return False
        own = (event for event in events if event.type in WRITTEN[moment] and event.data["step"] == step)
        return any(event.data.get("index") in (None, index) for event in own)


class Airflow:
    """What Airflow knows of the tasks of one run: their states, and how many instances the mapped ones have."""

    def __init__(self, definition: Definition) -> None:
        self.steps = definition.steps
        self.states: dict[str, str | None] = {}
        self.slots: dict[str, int] = {}

    def tasks(self) -> list[str]:
        """The ids of the tasks that perform steps."""
        return [task for step in self.steps for task in ([f"{step.id}.items"] if step.is_mapped else []) + [step.id]]

    def clear(self, tasks: Iterable[str | tuple[str, int]]) -> None:
        """These are to be performed."""
        for task in tasks:
            for key in [task, *self._instances(task)] if isinstance(task, str) else [f"{task[0]}_{task[1]}"]:
                self.states[key] = None

    def may(self, step: ResolvedStep) -> bool:
        """True when the rule of the step's first task lets it be performed: after a fan-out whatever came of that."""
        before = [each for each in self.steps if each.id in step.after]
        return any(each.each is not None for each in before) or not any(self._failed(each) for each in before)

    def _failed(self, step: ResolvedStep) -> bool:
        keys = [step.id, *(self._instances(step.id) if step.is_mapped else [])]
        return any(self.states.get(key) in ("failed", "upstream_failed") for key in keys)

    def _instances(self, step: str) -> list[str]:
        return [f"{step}_{slot}" for slot in range(self.slots.get(step, 0))]

    def expands(self, step: str, slots: int) -> None:
        """A list was laid out: these are its instances now."""
        for key in self._instances(step):
            del self.states[key]
        self.slots[step], self.states[step] = slots, "success" if slots else "skipped"
        self.states |= dict.fromkeys(self._instances(step))

    def waiting(self, step: str) -> list[int]:
        """The instances that are to be performed; none where the list before them was not laid out."""
        found = [slot for slot, key in enumerate(self._instances(step)) if self.states[key] is None]
        if self.states[f"{step}.items"] == "success":
            return found
        self.states |= dict.fromkeys([step, *(f"{step}_{slot}" for slot in found)], "upstream_failed")
        return []
