"""Waits for the end of the run that a step has asked for, and gives up when that end can never come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from muster.errors import ErrorClass, PermanentError, TransientError
from muster.execution.outcome import Outcome
from muster.execution.performing import load_begun
from muster.execution.references import ENDED_IN_AIRFLOW, WorkRef
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.runs import AT_ONCE
from muster.redaction import redact
from muster.runs.children import Child, ChildFailed, ask_for, ensure_own, result_of_run, settle, withdraw

log = logging.getLogger(__name__)

AirflowState = Callable[[str, str], Awaitable[str | None]]
"""Airflow's state of a run, by Dag and run id; None when Airflow does not know it.

Raises TransientError when it cannot be asked."""


@dataclass(frozen=True)
class Pace:
    """The times of a wait, in seconds."""

    first: float = 1.0
    """Before the second look; each wait is half as long again as the one before."""
    longest: float = 15.0
    airflow: float = 30.0
    """Between two questions to Airflow. The log has the end of a run, unless Airflow has lost the run."""
    begins: float = 900.0
    """How long a run may take to begin before it counts as held up for good."""
    mended: float = 1500.0
    """How long to wait for a run that died with its machine: the reconciler looks every ten minutes, waits another ten
    before it acts, and may then have the run go on."""


USUAL = Pace()


async def follow(services: Services, ref: WorkRef, airflow_state: AirflowState, pace: Pace = USUAL) -> Outcome:
    """Wait for the end of the run that a work item has asked for; write how the work item ended and return that.

    Call it again after a crash: it waits for the same run.
    """
    work_item = await load_begun(services, ref)
    if isinstance(work_item, Outcome):
        return work_item
    came: ActionResult | Exception
    try:
        child = await ask_for(services, work_item)
        await _Wait(services, work_item, child, airflow_state, pace).over()
        came = await result_of_run(services, work_item, child.run)
    except PermanentError as error:
        came = error
    return await settle(services, work_item, came)


class _Wait:
    """The wait of one work item for one run."""

    def __init__(
        self, services: Services, work_item: WorkItem, child: Child, airflow_state: AirflowState, pace: Pace
    ) -> None:
        self._services, self._work_item, self._child, self._pace = services, work_item, child, pace
        self._airflow_state = airflow_state
        self._asked_airflow = float("-inf")
        self._ended_in_airflow = False
        self._died: float | None = None
        self._is_own = False

    async def over(self) -> None:
        """Return once the run has ended.

        Raises:
            PermanentError: the run will never end, or not in time, and was cancelled; or somebody else has started it.
        """
        wait = self._pace.first
        while not await self._look():
            await asyncio.sleep(min(wait, self._left()))
            wait = min(wait * 1.5, self._pace.longest)

    async def _look(self) -> bool:
        try:
            # From the projection, where a run is one row: a wait may take days with a look every few seconds, and
            # folding the log each time would cost more with each event.
            end = await self._services.queries.aend_of(self._child.run)
            await self._ensure_own(begun=end != "unknown")
            if end not in (None, "unknown"):
                return True
            await self._may_still_end(begun=end is None)
        except TransientError as error:
            # The database or Airflow cannot be asked, so nothing could be written about the step either: wait on.
            log.warning("looking again for the end of %s: %s", self._child.run, redact(str(error)))
        return False

    async def _ensure_own(self, *, begun: bool) -> None:
        """Raise if somebody else has started the run: it is neither waited for nor cancelled."""
        # Asked once: the first event of a stream never changes.
        if begun and not self._is_own:
            await ensure_own(self._services, self._work_item, self._child.run)
            self._is_own = True

    async def _may_still_end(self, *, begun: bool) -> None:
        since = self._since()
        limit = self._work_item.step.timeout
        if limit is not None and since >= limit:
            await self._give_up(
                f"The run {self._child.run} took longer than the step's timeout of {limit:g} s, and was cancelled.",
                ErrorClass.TIMEOUT,
            )
        if not begun and since >= self._pace.begins and await self._is_held_up():
            await self._give_up(
                f"The run {self._child.run} has not begun within {self._pace.begins:g} s; it never will now.",
                remedy=f"See in Airflow whether {self._child.automation} is paused, or has too many runs at once.",
            )
        if since - self._asked_airflow >= self._pace.airflow:
            self._asked_airflow = since
            await self._ask_airflow(begun=begun)

    async def _is_held_up(self) -> bool:
        """True if the child is blocked, not queued: fewer than the maximum of runs are open, none began recently."""
        open_runs, last = await self._services.queries.abegun(self._child.automation)
        recent = last is not None and (self._services.clock() - last).total_seconds() < self._pace.begins
        return open_runs < AT_ONCE and not recent

    async def _ask_airflow(self, *, begun: bool) -> None:
        state = await self._airflow_state(self._child.automation, self._child.dag_run_id)
        ended = state is None or state in ENDED_IN_AIRFLOW
        if self._may_be_restarted(begun and state == "failed"):
            return
        # Airflow and the log do not learn of an end at the same moment. Only the second answer in a row counts: at the
        # first one the log's end may be about to come, and a run that has succeeded would be given up.
        if ended and self._ended_in_airflow:
            how = "does not know it any more" if state is None else f"ended it as {state}"
            said = "without an end in the log" if begun else "before it began"
            await self._give_up(
                f"Airflow {how}, {said}: the run {self._child.run}.",
                remedy=f"`muster reconcile` closes it; `muster show {self._child.run}` tells what happened.",
            )
        self._ended_in_airflow = ended

    def _may_be_restarted(self, died: bool) -> bool:
        """True while the reconciler may still let a run that died go on where it stopped."""
        if not died:
            self._died = None
            return False
        since = self._since()
        self._died = since if self._died is None else self._died
        return since - self._died < self._pace.mended

    async def _give_up(
        self, message: str, kind: ErrorClass = ErrorClass.PERMANENT, *, remedy: str | None = None
    ) -> None:
        await withdraw(
            self._services, self._child.run, by=self._work_item.ref.run, reason="its step no longer waits for it"
        )
        raise ChildFailed(message, remedy=remedy, error_class=kind)

    def _since(self) -> float:
        return (self._services.clock() - self._child.asked_at).total_seconds()

    def _left(self) -> float:
        limit = self._work_item.step.timeout
        return self._pace.longest if limit is None else max(limit - self._since(), 0.1)
