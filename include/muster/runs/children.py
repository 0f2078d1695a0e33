"""A run that a step asks for: named so that it is started once, and what its end means for the step."""

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
from muster.events.payloads.base import ParentWorkItem
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


class ChildFailed(PermanentError):
    """The run that a step has asked for did not succeed: the step fails, and what its own run did is undone."""

    repeats_data = False


@dataclass(frozen=True, kw_only=True)
class Child:
    """A run that a step asks for."""

    automation: str
    dag_run_id: str
    inputs: Mapping[str, object]
    requested: Event
    proof: str
    """What shows that it was asked for, with these inputs: nobody outside this installation can make it."""

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
        """What Airflow is given to start it with.

        Raises:
            PermanentError: the inputs are others by now than those it was asked for with.
        """
        asked, said = self.requested, ChildRequested.of(self.requested)
        if said.proof not in (None, proving.digest(self.proof)):
            # Opened with them it would be nobody's child, and would be performed all the same.
            raise PermanentError(
                f"The inputs of {self.run} are not those it was asked for with: something in them was forgotten since.",
                remedy=f"`muster restart {asked.stream} --from {said.step}` asks for another.",
            )
        return {**self.inputs, PARENT: {**parent_of(asked), "key": asked.key, "proof": self.proof}}


async def ask_for(services: Services, work_item: WorkItem) -> Child:
    """Name the run that a work item asks for, and write that down before anybody is told to start it.

    Asked again, after a crash, it is the same run; done again, in another epoch, it is another.

    Raises:
        PermanentError: its inputs cannot be worked out.
        Stopped: it was not asked for, and the work item's own run begins nothing any more.
        StepNotInScope: nor was it, and the execution has ended.
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
        # Again after the writing: who stopped the run before that has not seen what was asked for.
        await ensure_may_begin(services, work_item.ref)
    # What was written first counts: an earlier release gave other names.
    child = ChildRequested.of(requested).child
    return Child(
        automation=step.run,
        dag_run_id=child.partition("/")[2],
        inputs=inputs,
        requested=requested,
        proof=proving.prove(secret, work_item.ref.run, key, child, inputs),
    )


async def requested_by(services: Services, run: str, conf: Mapping[str, object]) -> Event | None:
    """The event by which another run has asked for this one with these inputs; None when none has.

    Anybody who may start a run chooses its id and writes its conf. So the other run's own log has the word, and the
    conf the proof that it comes from there.
    """
    named = conf.get(PARENT)
    if not isinstance(named, Mapping) or not all(isinstance(named.get(name), str) for name in ("run", "key")):
        return None
    found = (await services.log.aunder_keys(named["run"], [named["key"]])).get(named["key"])
    if found is None or found.type != EventType.CHILD_REQUESTED or (said := ChildRequested.of(found)).child != run:
        return None
    if said.proof is None:
        # It was asked for by an earlier release, and is about to begin in this one.
        return found
    proven = proving.is_proven(
        await proving.secret_of(services.database),
        named.get("proof"),
        kept=said.proof,
        run=named["run"],
        key=named["key"],
        child=run,
        inputs={name: value for name, value in conf.items() if name != PARENT},
    )
    return found if proven else None


async def ensure_own(services: Services, work_item: WorkItem, run: str) -> None:
    """Look who has opened a run that is there.

    Raises:
        ChildFailed: it was not opened for the work item.
    """
    opened = (await services.log.aunder_keys(run, [OPENED])).get(OPENED)
    if opened is not None and RunOpened.of(opened).parent != _parent(
        work_item.ref.run, work_item.step.id, work_item.index
    ):
        raise ChildFailed(
            f"The run {run} is not the one that step {work_item.step.id} asked for: somebody else has started it.",
            remedy=f"`muster restart {work_item.ref.run} --from {work_item.step.id}` asks for another.",
        )


def parent_of(asked: Event) -> ParentWorkItem:
    """What a run says of the work item that has asked for it."""
    said = ChildRequested.of(asked)
    return _parent(asked.stream, said.step, said.index)


def is_child(state: RunState, parent: str, step: str, index: int | None) -> bool:
    """True when a run was opened for that work item: its id alone is no proof, anybody may start a run by any id."""
    return state.parent == _parent(parent, step, index)


def _parent(run: str, step: str, index: int | None) -> ParentWorkItem:
    return {"run": run, "step": step, "index": index}


async def is_waited_for(services: Services, asked: Event) -> bool:
    """True while the execution that asked begins work: one that is asked for begins as any other work of it does.

    What undoes a run looks for what it asked for only once, and a later execution asks for another. A step that this
    one leaves as it was waits for nobody: it has its outcome, or none for good.
    """
    said = ChildRequested.of(asked)
    ref = WorkRef(run=asked.stream, step=said.step, epoch=said.epoch)
    try:
        return await why_not_begun(services, ref) is None
    except StepNotInScope:
        return False


async def settle(services: Services, work_item: WorkItem, came: ActionResult | Exception) -> Outcome:
    """Write how a work item ended whose run has, with that run's answer or an error; nothing once its own has ended."""
    if isinstance(came, StepNotInScope):
        return not_in_scope(came.message)
    if isinstance(came, Stopped):
        ending = work_item.skipped(came.skip.reason)
    else:
        ending = work_item.failed(came) if isinstance(came, Exception) else work_item.succeeded(came)
    stored = (await end(services, work_item.ref, [ending]))[0]
    return outcome_of(stored)


async def result_of_run(services: Services, work_item: WorkItem, run: str) -> ActionResult:
    """What a run that has ended gives to the work item that asked for it.

    Raises:
        ChildFailed: it did not succeed, or somebody else has started it.
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
    """Have a run go no further: what it has not begun skips itself, and it undoes what it did.

    True when it had not been opened: from now on it never does anything, even if Airflow starts it later.
    """
    # A person's word that it is done again comes after an earlier wish: it takes another.
    again = [order async for order in services.log.aread(run, types=REPEAT_ORDERS) if order.type in REPEAT_ORDERS]
    key = keys.cancel(len(again), by)
    event = RunCancelRequested(reason=reason).event(actor=by, key=key)
    try:
        # The log decides whether it has been opened. Looked up first, it could open between the look and the writing,
        # and this would say of a run under way that it never begins.
        stored = (await services.log.aappend(run, [event], expected=0))[0]
    except ConcurrencyError:
        stored = (await services.log.aappend(run, [event]))[0]
    # What comes before the opening is known to every step of the run.
    return stored.version == 1


def _step(work_item: WorkItem) -> ResolvedRun:
    if not isinstance(work_item.step, ResolvedRun):
        raise PermanentError(f"Step {work_item.step.id} names no automation to run.")
    return work_item.step


async def _is_about_others(services: Services, parent: str, run: str) -> bool:
    """True when a run is about somebody whom the run that asked for it is not about: its log would keep their data."""
    return not is_about_no_others(await services.log.asubject(run), await services.log.asubject(parent))


def _outputs(definition: Definition, state: RunState, *, withheld: bool) -> dict[str, object]:
    """What the run's steps gave back; when it is withheld, only what says nothing about a person."""
    found = {
        step.id: state.step(step.id).output for step in definition.steps if state.step(step.id).status == "succeeded"
    }
    if not withheld:
        return found
    return {
        name: with_personal(definition, name, output, lambda _: None)
        for name, output in found.items()
        if is_impersonal(definition, name)
    }
