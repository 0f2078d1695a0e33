"""Performs what one task instance was started for: a step, an item, or a pack of items."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from muster.errors import PermanentError
from muster.events.model import Event, EventType
from muster.events.payloads.base import payload_of
from muster.events.payloads.work import StepFailed, StepSetAside, StepSkipped, StepSucceeded
from muster.events.sealing import about_whom
from muster.events.tampering import TamperedLog
from muster.events.work import WorkState
from muster.execution import flow
from muster.execution.actions import act, fall_back, uses_threads
from muster.execution.attempts import finish
from muster.execution.beginning import begin_piece
from muster.execution.concurrency import at_once
from muster.execution.fanout import ENDINGS, Spread, complete, ensure_of_its_list, holds, last_endings, spread_of
from muster.execution.outcome import Outcome, left_as_it_was
from muster.execution.overtaken import ending_ahead
from muster.execution.piece import Piece, failed_as_a_whole, given_up
from muster.execution.references import HalfUndone, LeftAsItWas, WorkRef
from muster.execution.services import Services
from muster.execution.stopping import why_held_back, why_not_begun
from muster.execution.variables import Variables
from muster.execution.view import RunView, load
from muster.language.resolved_step import ResolvedStep


async def perform(services: Services, ref: WorkRef) -> Outcome:
    """Perform the work of one task instance and say how it ended. Performing it again does nothing twice."""
    try:
        return await about_whom(services.log.aseals, ref.run, partial(_perform, services, ref))
    except LeftAsItWas as error:
        return left_as_it_was(error.message)
    except TamperedLog:
        raise  # It is no failure of the work, and nothing is written into a run that is not as it was written.
    except PermanentError as error:
        return await _failed_before_it_began(services, ref, error)


async def begin(services: Services, ref: WorkRef) -> Piece | Outcome:
    """Start one piece whose work is done elsewhere (a person, an Airflow operator).

    In a fan-out it is the one item of `ref.slot`. An `Outcome` means there is nothing to do: it has ended
    already, or it does not go ahead.
    """
    try:
        return await about_whom(services.log.aseals, ref.run, partial(_begin, services, ref))
    except LeftAsItWas as error:
        return left_as_it_was(error.message)
    except TamperedLog:
        raise  # It is no failure of the work, and nothing is written into a run that is not as it was written.
    except PermanentError as error:
        return await _failed_before_it_began(services, ref, error)


async def take_up(services: Services, ref: WorkRef) -> Piece | Outcome:
    """Go on with one piece that another process has begun; an `Outcome` means that it has ended."""
    piece, ended = await _find(services, ref)
    return piece if ended is None else outcome_of(ended)


async def _failed_before_it_began(services: Services, ref: WorkRef, error: PermanentError) -> Outcome:
    """A `when` or `each` that cannot be evaluated fails the step as a whole."""
    return outcome_of((await services.log.aappend(ref.run, [failed_as_a_whole(ref, error)]))[0])


async def _perform(services: Services, ref: WorkRef) -> Outcome:
    view, step = await load(services, ref) if ref.slot is None else (None, None)
    if view is not None and step is not None and step.each is None:
        return await _perform_single(services, view, step, ref)
    spread = await spread_of(services, ref)
    await ensure_of_its_list(services, spread, ref)
    return await _perform_items(services, spread, ref)


async def _begin(services: Services, ref: WorkRef) -> Piece | Outcome:
    piece, ended = await _find(services, ref)
    if ref.slot is None:
        return await _begin_single(services, piece, ended)
    if ended is None:
        await ensure_of_its_list(services, await spread_of(services, ref), ref)
    begun = await _start(services, piece) if ended is None else ended
    if isinstance(begun, Piece):
        return begun
    # Also for an item that had ended before: whoever ended the last one may have died before the list was completed.
    await complete(services, await spread_of(services, ref), ref)
    return outcome_of(begun)


async def _find(services: Services, ref: WorkRef) -> tuple[Piece, Event | None]:
    """The one piece of a task instance, and how it ended."""
    if ref.slot is None:
        return _single(services, *await load(services, ref), ref)
    spread = await spread_of(services, ref)
    piece = _piece(spread, ref, spread.slot(ref.slot)[0])
    return piece, (await _endings(services, spread, [piece])).get(piece.key)


def _single(services: Services, view: RunView, step: ResolvedStep, ref: WorkRef) -> tuple[Piece, Event | None]:
    variables = Variables(partial(view.variables, step, services))
    piece = Piece(view=view, step=step, ref=ref, index=None, variables=variables)
    if ref.stands:
        return piece, last_endings(view, step).get(None)
    return piece, next((event for event in view.events if event.key == piece.ended_key), None)


async def _begin_single(services: Services, piece: Piece, ended: Event | None) -> Piece | Outcome:
    view, step, ref = piece.view, piece.step, piece.ref
    if ended is None:
        ref.demand_again()
        skip = flow.decide(view.definition, step, view.state)
        if skip is None and not holds(step, piece.variables):
            skip = flow.Skip(flow.WHEN)
        if skip is None:
            begun = await _start(services, piece)
            return begun if isinstance(begun, Piece) else outcome_of(begun)
        ended = await _skip(services, piece, skip)
    return outcome_of(ended)


async def _perform_single(services: Services, view: RunView, step: ResolvedStep, ref: WorkRef) -> Outcome:
    begun = await _begin_single(services, *_single(services, view, step, ref))
    return begun if isinstance(begun, Outcome) else outcome_of(await finish(services, begun, act, fall_back))


async def _perform_items(services: Services, spread: Spread, ref: WorkRef) -> Outcome:
    pieces = [_piece(spread, ref, index) for index in spread.slot(ref.slot)]
    if not pieces:
        return Outcome(status="skipped", reason="there is nothing to do for it", structural="all")
    # Read before anything begins: an item that an earlier process has ended is not begun again, whatever became of the
    # rest.
    endings = await _endings(services, spread, pieces)
    left = [piece for piece in pieces if piece.key not in endings]
    if left:
        await _work_out(spread)
    jobs = [partial(_perform_item, services, piece) for piece in left]
    done = await at_once(jobs, threads=uses_threads(spread.step, services)) if left else []
    await complete(services, spread, ref)
    return _together([*endings.values(), *done], single=ref.slot is not None and len(pieces) == 1)


async def _work_out(spread: Spread) -> None:
    """Have the list worked out before its items are begun; where that fails, each item says so as it begins."""
    if "items" not in vars(spread):
        with suppress(Exception):
            await asyncio.to_thread(lambda: spread.items)


async def _perform_item(services: Services, piece: Piece) -> Event:
    """Begin one item when its turn has come, and finish it; how it ended."""
    begun = await _start(services, piece)
    return begun if isinstance(begun, Event) else await finish(services, begun, act, fall_back)


async def _start(services: Services, piece: Piece) -> Piece | Event:
    """Write that a piece begins; how it ended instead when the run begins nothing any more."""
    piece.ref.demand_again()
    # Worked out before it begins: where that fails, no attempt has failed.
    if isinstance(piece.variables, Variables):
        piece.variables.ensure_worked_out()
    if (skip := await _why_skipped(services, piece)) is None:
        if (known := _known(piece)) is not None and known.half_undone:
            raise HalfUndone(piece.ref.run, piece.key)
        begun = await _started(services, piece)
        if isinstance(begun, Event):
            return begun
        piece = begun
        # Again after the writing: of two at the same moment, one who begins and one who stops the run, one sees the
        # other. Who took this for dead and has begun to undo would never undo what it did now. So it is of two items
        # of a list, one that begins and one that fails.
        try:
            skip = await _why_skipped(services, piece)
        except LeftAsItWas:
            # In a run that has ended nothing is at work.
            await services.log.aappend(piece.ref.run, [given_up(piece.step.id, piece.index, piece.ref.epoch)])
            raise
    return piece if skip is None else await _skip(services, piece, skip)


async def _skip(services: Services, piece: Piece, skip: flow.Skip) -> Event:
    """Write that a piece is not done. Where a triggerer is at it already, ahead of Airflow, it is how it ended there:
    what has begun counts, also in a run that is cancelled since.
    """
    if (ended := await ending_ahead(services, piece)) is not None:
        return ended
    return (await services.log.aappend(piece.ref.run, [piece.skipped(skip.reason)]))[0]


async def _why_skipped(services: Services, piece: Piece) -> flow.Skip | None:
    return await why_not_begun(services, piece.ref) or await why_held_back(services, piece)


async def _started(services: Services, piece: Piece) -> Piece | Event:
    """Write that it begins; the piece with the number of this execution, and whether there has been another one; or
    how it ended in a triggerer that has begun it ahead of Airflow.
    """
    known = _known(piece)
    piece = replace(piece, first=known is None or not known.attempt)
    return await begin_piece(services, piece)


def _known(piece: Piece) -> WorkState | None:
    """What the log said of it; None of an item of which it said nothing."""
    result = piece.view.state.step(piece.step.id)
    return result.whole if piece.index is None else result.items.get(piece.index)


async def _endings(services: Services, spread: Spread, pieces: Sequence[Piece]) -> dict[str, Event]:
    """How those of the pieces ended that are not done again, by their key."""
    found = await services.log.aunder_keys(spread.view.id, [piece.ended_key for piece in pieces])
    endings = {piece.key: found.get(piece.ended_key) or spread.kept.get(piece.index or 0) for piece in pieces}
    return {key: ending for key, ending in endings.items() if ending is not None}


def _piece(spread: Spread, ref: WorkRef, index: int) -> Piece:
    return Piece(view=spread.view, step=spread.step, ref=ref, index=index, variables=spread.variables_of(index))


def outcome_of(ending: Event) -> Outcome:
    """What the event that ended a piece says of it."""
    match payload_of(ending):
        case StepSucceeded(output=output):
            return Outcome(status="succeeded", output=output)
        case StepSkipped(reason=reason):
            return Outcome(status="skipped", reason=reason)
        case StepSetAside(error=error):
            return Outcome(status="skipped", reason=f"set aside: {error.message}")
        case StepFailed(error=error):
            return Outcome(status="failed", reason=error.message)
    return Outcome(status="failed", reason="it was given up before it had ended")


def _together(endings: Sequence[Event], *, single: bool) -> Outcome:
    """The end of a pack: red when an item failed for good, else green."""
    if single:
        return outcome_of(endings[0])
    counts = {kind.value.removeprefix("step."): _count(endings, kind) for kind in sorted(ENDINGS)}
    failures = [event for event in endings if event.type in (EventType.STEP_FAILED, EventType.STEP_STOPPED)]
    if counts["skipped"] == len(endings):
        return Outcome(status="skipped", output=counts, reason=StepSkipped.of(endings[0]).reason, structural="output")
    if failures:
        said = f"{len(failures)} of {len(endings)} failed: {outcome_of(failures[0]).reason}"
        return Outcome(status="failed", output=counts, reason=said, structural="output")
    if counts["set_aside"] == len(endings):
        return Outcome(status="failed", output=counts, reason="every item was set aside", structural="all")
    return Outcome(status="succeeded", output=counts, structural="all")


def _count(endings: Iterable[Event], kind: object) -> int:
    return sum(event.type == kind for event in endings)
