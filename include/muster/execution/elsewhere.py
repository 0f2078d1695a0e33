"""The part of Airflow's tasks in work that is done elsewhere: by an operator, by people, in another run."""

from __future__ import annotations

from functools import partial

from muster.errors import RetriesExhausted
from muster.events.model import NewEvent
from muster.events.payloads.base import RecordedError
from muster.events.payloads.work import StepRetried
from muster.execution.attempts import written
from muster.execution.concurrency import undisturbed
from muster.execution.fanout import end
from muster.execution.outcome import Outcome
from muster.execution.overtaken import Overtaken
from muster.execution.performing import outcome_of
from muster.execution.personal import conceal, kind_of
from muster.execution.retry_budget import write_retried
from muster.execution.services import Services
from muster.execution.stopping import Stopped
from muster.execution.view import definition_of
from muster.execution.work_item import WorkItem
from muster.failures import classify


async def write_end(services: Services, work_item: WorkItem, ending: NewEvent) -> Outcome:
    """Write the ending of a work item and return its outcome; if it has ended already, the stored outcome."""
    return outcome_of(await written(work_item, ending, lambda event: end(services, work_item.ref, [event])))


async def write_next_try(services: Services, work_item: WorkItem, error: Exception, attempt: int) -> Outcome | None:
    """Write that a try has failed and Airflow makes another; return None, or the outcome when no other try follows.

    Call it again if its answer was lost: the try is counted once.

    Args:
        attempt: Airflow's number of the try, from 1.

    Raises:
        RetriesExhausted: the run's budget is used up. The step has failed, and further tries do nothing.
    """
    retry = work_item.step.retry
    # Airflow draws the wait itself: this is its delay before the jitter, for the log only.
    delay = min(retry.delay * retry.backoff ** (attempt - 1), retry.max_delay)
    said = StepRetried(
        **work_item.place,
        attempt=attempt,
        error=RecordedError.of(error),
        delay=delay,
        class_=classify(error).value,
        # Each try of Airflow's begins an execution of its own, so this names the try, also when this is called again.
        mark=f"{work_item.key}/{work_item.execution}",
    )
    try:
        await undisturbed(partial(write_retried, services, work_item, said, work_item.view.definition.retries))
    except Overtaken:
        # The execution has ended, and nothing more is written about its work. Airflow's next try finds that out itself.
        pass
    except Stopped as stopped:
        return await write_end(services, work_item, work_item.skipped(stopped.skip.reason))
    except RetriesExhausted as final:
        await write_end(services, work_item, work_item.failed(final))
        raise
    return None


async def concealed(services: Services, run: str, step: str | None, outcome: Outcome) -> Outcome:
    """The outcome as Airflow may know it: without personal data if the run is about somebody."""
    if await services.log.asubject(run) is None:
        return outcome
    return conceal(outcome, kind_of(await definition_of(services, run), step))
