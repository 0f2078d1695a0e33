"""A run that a step asks for: its name, so that it starts only once, and the effect of its end on the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic_core import to_jsonable_python

from muster.errors import ConcurrencyError, PermanentError
from muster.events import keys
from muster.events.keys import OPENED
from muster.events.lifecycle import REPEAT_ORDERS
from muster.events.model import Event, EventType
from muster.events.payloads.runs import RunCancelRequested, RunOpened
from muster.events.payloads.work import ChildRequested
from muster.events.state import RunState
from muster.execution.fanout import end
from muster.execution.outcome import Outcome, not_in_scope
from muster.execution.performing import outcome_of
from muster.execution.personal import is_impersonal, with_personal
from muster.execution.reading import is_about_no_others
from muster.execution.references import StepNotInScope, WorkRef, run_id
from muster.execution.services import Services
from muster.execution.stopping import Stopped, ensure_may_begin, why_not_begun
from muster.execution.view import load_all
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.definition import Definition
from muster.language.expressions import evaluate
from muster.language.inputs import PARENT
from muster.language.kinds.run import ResolvedRun
from muster.runs import proving
from muster.runs.parents import parent, parent_of


class ChildFailed(PermanentError):
    """The run that a step has asked for did not succeed: the step fails, and the step's own run is undone."""

    repeats_data = False


@dataclass(frozen=True, kw_only=True)
class Child:
    """A run that a step asks for."""

    automation: str
    dag_run_id: str
    inputs: Mapping[str, object]
    requested: Event
    proof: str
    """Shows that the run was asked for with these inputs; only this installation can make it."""

    @property
    def run(self) -> str:
        """The run's id."""
        return run_id(self.automation, self.dag_run_id)

    @property
    def asked_at(self) -> datetime:
        """When it was asked for."""
        return self.requested.at

    @property
    def conf(self) -> dict[str, object]:
        """The conf with which Airflow starts the run.

        Raises:
            PermanentError: the inputs are no longer those that the run was asked for with; the step fails.
        """
        asked, said = self.requested, ChildRequested.of(self.requested)
        if said.proof not in (None, proving.digest(self.proof)):
            # With other inputs the proof fails, and `open` would take the run for nobody's child: it would be
            # performed, and nobody would wait for it or undo it.
            raise PermanentError(
                f"The inputs of {self.run} are not those it was asked for with: something in them was forgotten since.",
                remedy=f"`muster restart {asked.stream} --from {said.step}` asks for another.",
            )
        return {**self.inputs, PARENT: {**parent_of(asked), "key": asked.key, "proof": self.proof}}


async def ask_for(services: Services, work_item: WorkItem) -> Child:
    """Write `child.requested` for the run that a work item asks for, and return that run; nothing starts it yet.

    Call it again after a crash: it returns the same run. In another epoch it is another run.

    Raises:
        PermanentError: the inputs cannot be evaluated.
        Stopped: the work item's own run begins nothing any more, so the child is not to be started; skip the step.
        StepNotInScope: the execution of the work item's run has ended; nothing is to be started or written.
    """
    step, secret = _step(work_item), await proving.secret_of(services.database)
    inputs = to_jsonable_python(evaluate(step.arguments, work_item.variables, where=f"step {work_item.step.id}, with"))
    key = keys.child(work_item.key, work_item.ref.epoch)
    child = run_id(step.run, proving.name_of(secret, work_item.ref.run, work_item.key, work_item.ref.epoch))
    proof = proving.digest(proving.prove(secret, work_item.ref.run, key, child, inputs))
    said = ChildRequested(**work_item.place, child=child, automation=step.run, proof=proof)
    if (requested := (await services.log.aunder_keys(work_item.ref.run, [key])).get(key)) is None:
        await ensure_may_begin(services, work_item.ref)
        requested = (await services.log.aappend(work_item.ref.run, [said.event(key=key)]))[0]
        # Asked again after the write. Otherwise: the run looks open here, undoing begins and looks for children once,
        # the request is written, and the child runs although nobody undoes it.
        await ensure_may_begin(services, work_item.ref)
    # The name in the log counts, because an earlier release named children in another way: a new name here would start
    # the same child a second time.
    child = ChildRequested.of(requested).child
    return Child(
        automation=step.run,
        dag_run_id=child.partition("/")[2],
        inputs=inputs,
        requested=requested,
        proof=proving.prove(secret, work_item.ref.run, key, child, inputs),
    )


async def requested_by(services: Services, run: str, conf: Mapping[str, object]) -> Event | None:
    """The `child.requested` event with which another run has asked for this one and these inputs, or None."""
    # A person who may start a run chooses its id and its conf, so the conf alone is not believed: the log of the other
    # run must have the request, and the conf the proof.
    named = conf.get(PARENT)
    if not isinstance(named, Mapping) or not all(isinstance(named.get(name), str) for name in ("run", "key")):
        return None
    asked = (await services.log.aunder_keys(named["run"], [named["key"]])).get(named["key"])
    if asked is None or asked.type != EventType.CHILD_REQUESTED or (said := ChildRequested.of(asked)).child != run:
        return None
    if said.proof is None:
        # An earlier release, which made no proofs, has asked for it.
        return asked
    proven = proving.is_proven(
        await proving.secret_of(services.database),
        named.get("proof"),
        kept=said.proof,
        run=named["run"],
        key=named["key"],
        child=run,
        inputs={name: value for name, value in conf.items() if name != PARENT},
    )
    return asked if proven else None


async def ensure_own(services: Services, work_item: WorkItem, run: str) -> None:
    """Check that an open run was opened for this work item; a run that is not open yet passes.

    Raises:
        ChildFailed: somebody else has opened it; the step fails, and the run is neither cancelled nor undone.
    """
    opened = (await services.log.aunder_keys(run, [OPENED])).get(OPENED)
    if opened is not None and RunOpened.of(opened).parent != parent(
        work_item.ref.run, work_item.step.id, work_item.index
    ):
        raise ChildFailed(
            f"The run {run} is not the one that step {work_item.step.id} asked for: somebody else has started it.",
            remedy=f"`muster restart {work_item.ref.run} --from {work_item.step.id}` asks for another.",
        )


async def is_waited_for(services: Services, asked: Event) -> bool:
    """True while the execution that asked for a run still begins work."""
    # A child that opens after that would stay as it is: undoing its parent looks for children only once, and a later
    # execution of the parent asks for another child.
    said = ChildRequested.of(asked)
    ref = WorkRef(run=asked.stream, step=said.step, epoch=said.epoch)
    try:
        return await why_not_begun(services, ref) is None
    except StepNotInScope:
        return False


async def settle(services: Services, work_item: WorkItem, came: ActionResult | Exception) -> Outcome:
    """Write the ending of a work item from the result of the run that it asked for, or from an error.

    Nothing is written for `StepNotInScope`, because the execution of the work item's own run has ended.
    """
    if isinstance(came, StepNotInScope):
        return not_in_scope(came.message)
    if isinstance(came, Stopped):
        ending = work_item.skipped(came.skip.reason)
    else:
        ending = work_item.failed(came) if isinstance(came, Exception) else work_item.succeeded(came)
    stored = (await end(services, work_item.ref, [ending]))[0]
    return outcome_of(stored)


async def result_of_run(services: Services, work_item: WorkItem, run: str) -> ActionResult:
    """The result that a run that has ended gives to the work item that asked for it.

    Raises:
        ChildFailed: the run did not succeed, or somebody else has started it; the step fails.
    """
    await ensure_own(services, work_item, run)
    view = await load_all(services, run)
    state = view.state
    if state.status != "succeeded":
        raise ChildFailed(
            f"The run {run} ended {state.status}: {state.reason}.",
            remedy=f"`muster resume {run}` once you have acted; then resume this run."
            if state.status == "stuck"
            else f"`muster show {run}` tells what happened.",
        )
    return ActionResult(
        output={
            "run": run,
            "automation": view.definition.name,
            "status": state.status,
            "counts": dict(state.counts),
            "outputs": _outputs(
                view.definition, state, withheld=await _is_about_others(services, work_item.ref.run, run)
            ),
        },
        produced_by="run",
    )


async def withdraw(services: Services, run: str, *, by: str, reason: str) -> bool:
    """Cancel a run: steps that have not begun are skipped, and the rest is undone.

    Returns True when the run had not been opened: it never does anything then, even if Airflow starts it later.
    """
    # A restart or redrive overrules an earlier cancellation, so a cancellation after it needs a key of its own: under
    # the old key it would be taken for the one that is overruled.
    again = [order async for order in services.log.aread(run, types=REPEAT_ORDERS) if order.type in REPEAT_ORDERS]
    key = keys.cancel(len(again), by)
    event = RunCancelRequested(reason=reason).event(actor=by, key=key)
    try:
        # `expected=0` lets the log decide whether the run is open. Looked up first, the run could open between the look
        # and the write, and this would report a run under way as one that never begins.
        stored = (await services.log.aappend(run, [event], expected=0))[0]
    except ConcurrencyError:
        stored = (await services.log.aappend(run, [event]))[0]
    # As the first event of the stream it comes before `run.opened`, so every step of the run sees it and skips itself.
    return stored.version == 1


def _step(work_item: WorkItem) -> ResolvedRun:
    if not isinstance(work_item.step, ResolvedRun):
        raise PermanentError(f"Step {work_item.step.id} names no automation to run.")
    return work_item.step


async def _is_about_others(services: Services, parent: str, run: str) -> bool:
    """True when a run is about a person whom its parent is not about: the parent's log would keep their data."""
    return not is_about_no_others(await services.log.asubject(run), await services.log.asubject(parent))


def _outputs(definition: Definition, state: RunState, *, withheld: bool) -> dict[str, object]:
    """The outputs of the run's steps that succeeded; if `withheld`, only those that say nothing about a person."""
    outputs = {
        step.id: state.step(step.id).output for step in definition.steps if state.step(step.id).status == "succeeded"
    }
    if not withheld:
        return outputs
    return {
        name: with_personal(definition, name, output, lambda _: None)
        for name, output in outputs.items()
        if is_impersonal(definition, name)
    }
