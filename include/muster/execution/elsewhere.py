"""What Airflow's tasks do of work that is done elsewhere: by an operator, by people, in another run."""

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
from muster.execution.piece import Piece
from muster.execution.retry_budget import write_retried
from muster.execution.services import Services
from muster.execution.stopping import Stopped
from muster.execution.view import definition_of
from muster.failures import classify


async def write_end(services: Services, piece: Piece, ending: NewEvent) -> Outcome:
    """Write how a piece ended; where it has ended already, how that was."""
    return outcome_of(await written(piece, ending, lambda event: end(services, piece.ref, [event])))


async def write_next_try(services: Services, piece: Piece, error: Exception, attempt: int) -> Outcome | None:
    """Write that a try has failed and Airflow makes another; how the piece ended, where none follows.

    May be said again when the answer was lost: each try has an execution of its own, and is counted once.

    Args:
        attempt: Airflow's number of the try, from 1.

    Raises:
        RetriesExhausted: the run's budget is used up. The step has failed, and further tries do nothing.
    """
    retry = piece.step.retry
    # As Airflow reckons it, before it adds something at random.
    delay = min(retry.delay * retry.backoff ** (attempt - 1), retry.max_delay)
    said = StepRetried(
        **piece.place,
        attempt=attempt,
        error=RecordedError.of(error),
        delay=delay,
        class_=classify(error).value,
        mark=f"{piece.key}/{piece.execution}",
    )
    try:
        await undisturbed(partial(write_retried, services, piece, said, piece.view.definition.retries))
    except Overtaken:
        pass
    except Stopped as stopped:
        return await write_end(services, piece, piece.skipped(stopped.skip.reason))
    except RetriesExhausted as final:
        await write_end(services, piece, piece.failed(final))
        raise
    return None


async def concealed(services: Services, run: str, step: str | None, outcome: Outcome) -> Outcome:
    """An outcome as Airflow may know it."""
    if await services.log.asubject(run) is None:
        return outcome
    return conceal(outcome, kind_of(await definition_of(services, run), step))
