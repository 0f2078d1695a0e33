"""Work that is done elsewhere: by an operator, by people or in another run.

The task of such a step begins a work item in the log, has the work done, and writes how the work item ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from muster.errors import DatabaseLost
from muster.execution import Outcome, begin, concealed, write_end
from muster_airflow.egress import note
from muster_airflow.reference import work_ref
from muster_airflow.triggers.work import RETRY_DELAYS

if TYPE_CHECKING:
    from airflow.sdk import Context

    from muster.events.model import NewEvent
    from muster.execution import WorkItem

T = TypeVar("T")


class Elsewhere:
    """The log, as the task of one work item asks it and writes into it."""

    def __init__(self, context: Context) -> None:
        from muster_airflow.services import services_in_worker

        self._context, self.services = context, services_in_worker(context)

    def load_begun(self) -> WorkItem | Outcome:
        """The task's work item, with its beginning in the log; its outcome instead if it has ended already."""

        async def begun() -> WorkItem | Outcome:
            services, context = self.services, self._context
            ref = await work_ref(services, context["ti"], context["dag_run"], lane="worker")
            work_item = await begin(services, ref)
            return (
                await concealed(services, ref.run, ref.step, work_item) if isinstance(work_item, Outcome) else work_item
            )

        return self.ask(begun)

    def write(self, work_item: WorkItem, ending: NewEvent) -> Outcome:
        """Write the ending of a work item; if it has ended already, that outcome is returned, `ending` dropped."""
        return self.ask(lambda: write_end(self.services, work_item, ending))

    def ended(self, work_item: WorkItem, ending: NewEvent) -> Outcome:
        """Write the ending of a work item; returns the outcome as Airflow may know it."""
        return self.told(work_item, self.write(work_item, ending))

    def told(self, work_item: WorkItem, outcome: Outcome) -> Outcome:
        """The outcome of a work item as Airflow may know it: without data about somebody."""
        return self.ask(lambda: concealed(self.services, work_item.ref.run, work_item.step.id, outcome))

    def ask(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask the log, or write into it; tried again while the database is away."""
        from muster_airflow.services import run

        return patiently(lambda: run(self.services, work()))


def patiently(work: Callable[[], T]) -> T:
    """The result of `work`, which needs the database: tried again for five minutes while the database is away.

    The work elsewhere has been done by then. A task that failed over the database would have it repeated, or undone,
    for nothing.

    Raises:
        DatabaseLost: the database is still away.
    """
    for pause in RETRY_DELAYS:
        try:
            return work()
        except DatabaseLost as error:
            note("warning", "trying again", error=error, seconds=pause)
            time.sleep(pause)
    return work()
