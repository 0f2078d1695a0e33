"""The saga: undoes what a run did, step by step in reverse, once it cannot be finished.

`begin` decides what is to be undone and writes it down; `compensate` undoes one step. Undoing ends when
everything is undone, or when the run is stuck: a compensation failed for good, or what happened cannot be
undone. Then the rest stays as it is, people are told, and a person must act before it goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from muster.errors import ConcurrencyError, DatabaseLost, MusterError
from muster.events import keys
from muster.events.keys import work_key
from muster.events.model import Event, EventType
from muster.events.payloads.base import Place, RecordedError
from muster.events.payloads.runs import RunStuck, SagaUnwinding
from muster.events.payloads.work import (
    CompensationFailed,
    CompensationRetried,
    CompensationStarted,
    CompensationSucceeded,
)
from muster.events.sealing import FORGOTTEN, WITHHELD, ForgottenMeanwhile, about_whom
from muster.events.state import RunState
from muster.execution.actions import uses_threads
from muster.execution.attempts import attempts
from muster.execution.concurrency import at_once, undisturbed
from muster.execution.kinds.skill import skill_context
from muster.execution.laying_out import items_of
from muster.execution.outcome import Outcome, not_in_scope
from muster.execution.overtaken import Overtaken, state_at_rest
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.sharing import append_withdrawing
from muster.execution.stopping import has_closed
from muster.execution.variables import variables_for, with_forgotten
from muster.execution.view import RunView, definition_of, load_all
from muster.execution.work_item import WorkItem, given_up
from muster.language.expression_errors import NeedsForgotten
from muster.language.expressions import evaluate
from muster.language.forgotten import Forgotten, nothing_passed_on
from muster.language.resolved import ResolvedCompensation, ResolvedRetry
from muster.language.resolved_step import ResolvedStep
from muster.language.sagas import compensation_order
from muster.saga.children import IrreversibleWork, irreversible_work_below, undo_children
from muster.saga.closing import close_run, revoke_left
from muster.saga.incidents import tell_stuck
from muster.saga.scope import Irreversible, irreversible_steps_begun, to_undo
from muster.saga.verdict import TaskStates, reasons_to_undo
from muster.skills.calling import call_skill
from muster.skills.registry import get_skill

MOST_NAMED = 5
"""Steps that a message names; of more it says how many."""
_OVERTAKING = (EventType.COMPENSATION_STARTED, EventType.COMPENSATION_SUCCEEDED)


async def begin(services: Services, ref: WorkRef, task_states: TaskStates) -> Outcome:
    """Decide whether the run has to be undone, and write `saga.unwinding` with the work items to undo.

    The outcome is `succeeded` with these work items, `skipped` if there is nothing to undo, and `failed` if the run is
    stuck (people are told) or has ended already. A repeated call returns what the first one decided.
    """
    return await undisturbed(partial(_begin, services, ref, task_states))


async def _begin(services: Services, ref: WorkRef, task_states: TaskStates) -> Outcome:
    key = keys.unwinding(ref.epoch)
    if recorded := (await services.log.aunder_keys(ref.run, [key])).get(key):
        return await _begun(services, ref, await services.log.astate(ref.run), recorded)
    # A process that was taken for dead may wake in a later execution: `saga.unwinding` written now would have work of
    # that execution undone.
    if await has_closed(services, ref):
        return not_in_scope(f"{ref.run} has ended: it is not undone any more.")
    # The state alone decides about a run that came through, and for a long one there is a snapshot of it.
    state = await state_at_rest(services, ref.run)
    if state.status == "stuck" and state.undo_told and state.reason:
        # Keep the reason that the run got stuck for. A person may have undone the failed work by hand since, and the
        # state would show no reason any more.
        reasons = [state.reason]
    else:
        reasons = reasons_to_undo(await definition_of(services, ref.run), state, task_states)
    if not reasons:
        return Outcome(status="skipped", reason="nothing has to be undone", structural="all")
    view = await load_all(services, ref.run)
    if view.state.version != state.version:
        # The reasons come from `state`, the work items from `view`: a step without an outcome in the one may have
        # succeeded in the other, and would be undone for nothing. `undisturbed` decides anew.
        raise ConcurrencyError(f"Something was written into {ref.run} since it was decided to undo it.")
    if not view.state.undo_told and (final := await _irreversible_work(services, view)):
        error = Irreversible(
            f"{'; '.join(reasons)}; and {_named(view, final)} cannot be undone.",
            remedy=f"Go forward with `muster restart {ref.run} --from STEP`, or have the rest undone with "
            f"`muster resume {ref.run}`: with --by-hand, if you have undone it by hand.",
        )
        return await _stuck(services, ref, final[0].step, final[0].index, error, final, expected=state.version)
    said = SagaUnwinding(reason="; ".join(reasons), work_items=to_undo(view.definition, view.state), epoch=ref.epoch)
    # Always write this event, even with an empty list: it closes the set of work to compensate. A `step.started` that
    # comes before it refuses this append; one that comes after it begins no work.
    written = (await services.log.aappend(ref.run, [said.event(key=key)], expected=view.state.version))[0]
    return await _begun(services, ref, view.state, written)


async def _irreversible_work(services: Services, view: RunView) -> list[IrreversibleWork]:
    """Irreversible work that may have happened, in this run or in a run that it has asked for."""
    own = [
        IrreversibleWork(step, None, view.id, step) for step in irreversible_steps_begun(view.definition, view.state)
    ]
    return own + [below async for below in irreversible_work_below(services, view)]


def _named(view: RunView, final: Sequence[IrreversibleWork]) -> str:
    names = [work.what if work.run == view.id else f"{work.what} of {work.run}" for work in final]
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


async def _begun(services: Services, ref: WorkRef, state: RunState, unwinding: Event) -> Outcome:
    # A compensation revokes its own work item only. Work without a compensation, under way in a process that was taken
    # for dead, would go on writing effects while the run is undone.
    if (hanging := await revoke_left(services.database, state, unwinding.version)) is not None:
        return await _stuck(services, ref, *hanging)
    work_items = SagaUnwinding.of(unwinding).work_items
    if not work_items:
        return Outcome(status="skipped", reason="nothing that was done can be undone", structural="all")
    return Outcome(status="succeeded", output=work_items, structural="all")


async def compensate(services: Services, ref: WorkRef) -> Outcome:
    """Undo everything that one step did, its items side by side; a repeated call undoes nothing twice.

    The outcome is `succeeded`, `skipped` if nothing is left to undo, or `failed`: the run is stuck or has ended, and
    the steps before this one stay as they are.

    Raises:
        Overtaken: another process undoes the work by now, and records how that ends.
        DatabaseLost: nobody knows whether the work is undone; call it again.
    """
    return await about_whom(services.log.aseals, ref.run, partial(_compensate, services, ref))


async def _compensate(services: Services, ref: WorkRef) -> Outcome:
    view = await load_all(services, ref.run)
    stuck, unwinding = view.state.stuck, view.state.unwinding
    if stuck is not None and stuck.epoch == ref.epoch:
        where = work_key(stuck.step, stuck.index)
        return Outcome(status="failed", reason=f"undoing has stopped at {where}", structural="all")
    step = view.definition.step(ref.step)
    indices = unwinding.work_items.get(step.id, []) if unwinding is not None else []
    left = [index for index in indices if view.state.step(step.id).work(index).status != "undone"]
    if not left:
        return Outcome(status="skipped", reason="nothing of it has to be undone", structural="all")
    failures: list[tuple[int | None, Exception]] = []
    undone = 0

    async def one(work_item: WorkItem) -> None:
        nonlocal undone
        # Once one compensation has failed, here or in another process, the run is stuck and no other one begins. Nor
        # does one begin in a process that was taken for dead and wakes up after the run was closed.
        stuck = failures or await services.log.aunder_keys(ref.run, [keys.stuck(ref.epoch)])
        if stuck or await has_closed(services, ref):
            return
        if (error := await _undo(services, work_item)) is not None:
            failures.append((work_item.index, error))
        else:
            undone += 1

    try:
        waves = _waves(services, view, step, ref, left)
        threads = uses_threads(_undoing(step), services)
    except Exception as error:
        # For example, the skill is gone. Raised from the task, the error would reach nobody, and without `run.stuck` no
        # person could resume the run.
        work_epoch, recorded = view.state.step(step.id).work(left[0]).epoch, RecordedError.of(error)
        place = Place(step=step.id, index=left[0], epoch=ref.epoch)
        said = CompensationFailed(**place, work_epoch=work_epoch, error=recorded)
        await services.log.aappend(ref.run, [said.event()])
        failures.append((left[0], error))
    else:
        for wave in waves:
            await at_once([partial(one, work_item) for work_item in wave], threads=threads)
    if failures:
        return await _stuck(services, ref, step.id, *failures[0])
    if undone < len(left):
        return Outcome(status="failed", reason="undoing has stopped elsewhere", structural="all")
    return Outcome(status="succeeded", output={"undone": undone}, structural="all")


async def unwind(services: Services, run: str, epoch: int) -> None:
    """Undo a run that has ended and close it anew in `epoch`, as `compensated` or `stuck`, without Airflow."""
    ref = WorkRef(run=run, step="begin", epoch=epoch)
    if (await begin(services, ref, {})).status == "succeeded":
        for step in compensation_order(await definition_of(services, run)):
            if (await compensate(services, replace(ref, step=step))).status == "failed":
                break
    await close_run(services, replace(ref, step="close"), {})


def _undoing(step: ResolvedStep) -> ResolvedStep:
    """The step's compensation as a step: what is called, how it is repeated, and how long it may take."""
    if step.done_by == "runs":
        # `undo_children` waits for the runs, and has its own limit for that.
        return step.model_copy(update={"retry": ResolvedRetry(times=5), "timeout": None})
    undo = _compensation(step)
    return step.model_copy(
        update={"kind": "skill", "skill": undo.skill, "retry": undo.retry, "timeout": undo.timeout, "agent": None}
    )


def _compensation(step: ResolvedStep) -> ResolvedCompensation:
    if step.compensate is None:
        raise MusterError(f"Step {step.id} has no compensation.")
    return step.compensate


def _waves(
    services: Services, view: RunView, step: ResolvedStep, ref: WorkRef, indices: list[int | None]
) -> list[list[WorkItem]]:
    """The work items to undo, those that may be undone side by side together: first those that built on others.

    Each has its own variables: the run as it was when the work was done last.
    """
    waves = defaultdict[int, list[WorkItem]](list)
    for depth, work_item in _work_items(services, view, step, ref, indices):
        waves[depth].append(work_item)
    return [waves[depth] for depth in sorted(waves, reverse=True)]


def _work_items(
    services: Services, view: RunView, step: ResolvedStep, ref: WorkRef, indices: list[int | None]
) -> Iterator[tuple[int, WorkItem]]:
    undo, undoing = step.compensate, _undoing(step)
    # Variables of today would be wrong: a step that was done again since has another output, and the compensation would
    # undo something else.
    names = {*(undo.references if undo is not None else ()), *step.references}
    seen: dict[int, tuple[Mapping[str, object], Sequence[object] | Forgotten, Sequence[int]]] = {}
    for index in indices:
        work = view.state.step(step.id).work(index)
        epoch = work.epoch if work.begun is None else work.begun
        if epoch not in seen:
            known = variables_for(view.definition, names, view.as_of(epoch), services)
            listed = _list(step, known, view.as_of(epoch).step(step.id).added)
            # Once for all of them: each look at a plan looks at all of its tasks.
            seen[epoch] = known, listed, () if isinstance(listed, Forgotten) else step.depths_of(listed)
        variables, items, depths = seen[epoch]
        own: dict[str, object] = {"output": with_forgotten(work.output)}
        if index is not None:
            own["index"] = index
            if isinstance(items, Forgotten):
                own["item"] = items
            elif index < len(items):
                own["item"] = items[index]
        work_item = WorkItem(view=view, step=undoing, ref=ref, index=index, variables={**variables, **own}, undoes=True)
        # Of a plan that cannot be read any more the last task is undone first.
        position = index or 0
        yield depths[position] if position < len(depths) else position if step.pulls else 0, work_item


def _list(step: ResolvedStep, variables: Mapping[str, object], added: Sequence[object]) -> Sequence[object] | Forgotten:
    """The list of a fan-out; empty when it cannot be read any more, because most compensations need only the output.

    One that names its item then fails. Null in its place would be written as nothing into the text that says what to
    undo.
    """
    try:
        return () if step.each is None else items_of(step, variables, added)
    except NeedsForgotten:
        return Forgotten({FORGOTTEN: ""})
    except MusterError:
        return ()


async def _undo(services: Services, work_item: WorkItem) -> Exception | None:
    """Undo one work item; return the error when that failed for good, else None.

    Raises:
        Overtaken: another process has begun to undo it since.
        DatabaseLost, ForgottenMeanwhile: nobody knows whether it is undone, as if the process had died; undo it again.
    """
    work = work_item.view.state.step(work_item.step.id).work(work_item.index)
    events = [CompensationStarted(**work_item.place, work_epoch=work.epoch).event()]
    if not work.ended:
        events.append(given_up(work_item.step.id, work_item.index, work.epoch))
    # One append: from here on the key of the work's ending is taken. A process that was taken for dead and ends the
    # work later is told that it was given up, and the log never says that undone work has succeeded.
    begun = await services.log.aappend(work_item.ref.run, events)
    # The new execution number is the fencing token: writes of the work itself, or of an earlier attempt at undoing it,
    # are refused from here on.
    work_item = replace(work_item, execution=begun[0].version, first=False)
    try:
        await attempts(
            services, work_item, _call, CompensationRetried, ends=partial(_undone, services, work_item, work.epoch)
        )
    except (DatabaseLost, ForgottenMeanwhile):
        raise
    except Exception as error:
        return await undisturbed(partial(_not_undone, services, work_item, work.epoch, error))
    return None


async def _not_undone(services: Services, work_item: WorkItem, work_epoch: int, error: Exception) -> Exception | None:
    """Write `compensation.failed`, and return the error; None when the work is undone all the same.

    Raises:
        Overtaken: another process undoes the work by now, or the run was closed. Nothing is written here.
    """
    # Read the version before the events. If another process begins to undo the work after this look, the append below
    # is refused, and does not call a compensation failed that is under way.
    version, log = await services.log.aversion(work_item.ref.run), services.log
    since = log.aread(
        work_item.ref.run, after_version=work_item.execution, steps=[work_item.step.id], types=_OVERTAKING
    )
    ended = [event.type async for event in since if event.index == work_item.index]
    if CompensationSucceeded.type in ended:
        return None
    if isinstance(error, Overtaken):
        raise error
    if ended or await has_closed(services, work_item.ref):
        raise Overtaken(
            f"{work_item.work} was taken over, or its run closed, before undoing it failed here."
        ) from error
    said = CompensationFailed(**work_item.place, work_epoch=work_epoch, error=RecordedError.of(error))
    await log.aappend(work_item.ref.run, [said.event()], expected=version)
    return error


async def _undone(services: Services, work_item: WorkItem, work_epoch: int, output: object) -> None:
    """Write `compensation.succeeded` while the locks are held, so that their next holder does not undo it again."""
    # The key holds the epoch of the work: of several attempts at undoing that execution the first one counts.
    done = CompensationSucceeded(**work_item.place, work_epoch=work_epoch, output=output)
    await append_withdrawing(services, work_item, [done.event(key=work_item.ended_key)])


async def _call(services: Services, work_item: WorkItem) -> object:
    if work_item.step.done_by == "runs":
        step = work_item.view.definition.step(work_item.step.id)
        return await undo_children(services, work_item, unwind, limit=step.timeout)
    undo = _compensation(work_item.step)
    skill = get_skill(undo.skill, services.site)
    # A text with a marker in the place of an id would name something that is not there, and a skill that says that this
    # is gone has undone nothing.
    with nothing_passed_on():
        values = evaluate(undo.arguments, work_item.variables, where=f"step {work_item.step.id}, compensate")
    return await call_skill(skill, values, skill_context(services, work_item))


async def _stuck(
    services: Services,
    ref: WorkRef,
    step: str,
    index: int | None,
    error: Exception,
    final: Sequence[IrreversibleWork] = (),
    *,
    expected: int | None = None,
) -> Outcome:
    recorded, irreversible = RecordedError.of(error), defaultdict[str, list[str]](list)
    for work in final:
        irreversible[work.run].append(work.what)
    said = RunStuck(step=step, index=index, error=recorded, epoch=ref.epoch, irreversible=dict(irreversible) or None)
    # Write first, then tell people: a process that dies in between leaves a stuck run without a notice, which the
    # reconciler finds. Compensations that fail side by side share the key, so each place gets one notice.
    await services.log.aappend(ref.run, [said.event(key=keys.stuck(ref.epoch))], expected=expected)
    repeats = not isinstance(error, MusterError) or error.repeats_data
    if repeats and await services.log.asubject(ref.run) is not None:
        # `muster forget` cannot take back a mail or a Slack message. So words that the log seals, the remedy among
        # them, stay in the log.
        recorded = replace(recorded, message=WITHHELD, remedy=None)
    await tell_stuck(services, ref, step, index, recorded)
    reason = f"stuck at {work_key(step, index)}: {recorded.message}"
    return Outcome(status="failed", reason=reason, structural="all")
