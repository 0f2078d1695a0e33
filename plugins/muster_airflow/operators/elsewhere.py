"""Work that is done elsewhere, by an operator, by people or in another run: a task takes a work item up in the log,
has it done, and writes how it ended.
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
        """The work item that the task stands for, begun; how it ended, where it has."""

        async def begun() -> WorkItem | Outcome:
            services, context = self.services, self._context
            ref = await work_ref(services, context["ti"], context["dag_run"], lane="worker")
            work_item = await begin(services, ref)
            return (
                await concealed(services, ref.run, ref.step, work_item) if isinstance(work_item, Outcome) else work_item
            )

        return self.ask(begun)

    def write(self, work_item: WorkItem, ending: NewEvent) -> Outcome:
        """Write how it ended; where it has ended already, how that was."""
        return self.ask(lambda: write_end(self.services, work_item, ending))

    def ended(self, work_item: WorkItem, ending: NewEvent) -> Outcome:
        """`write`, and what Airflow may know of it."""
        return self.told(work_item, self.write(work_item, ending))

    def told(self, work_item: WorkItem, outcome: Outcome) -> Outcome:
        """How it ended, as Airflow may know it."""
        return self.ask(lambda: concealed(self.services, work_item.ref.run, work_item.step.id, outcome))

    def ask(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask the log, or write into it."""
        from muster_airflow.services import run

        return patiently(lambda: run(self.services, work()))


def patiently(work: Callable[[], T]) -> T:
    """Do something that needs the database, also when it is away for a while.

    What is done elsewhere is done once: a task that failed here would have it done again, or undone, for nothing.
    """
    for pause in RETRY_DELAYS:
        try:
            return work()
        except DatabaseLost as error:
            note("warning", "trying again", error=error, seconds=pause)
            time.sleep(pause)
    return work()
