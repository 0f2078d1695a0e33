"""Any installed Airflow operator as a step: rendered by Muster, its result in the run's log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from hashlib import sha256
from typing import Any, TypeVar

from airflow.sdk import BaseOperator, Context
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    DagRunTriggerException,
    DownstreamTasksSkipped,
    TaskAwaitingInput,
    TaskDeferred,
)

from muster.agents.types import schema_of
from muster.errors import MusterError, PermanentError, RetriesExhausted
from muster.events.sealing import working_about
from muster.execution import ActionResult, Outcome, Services, WorkItem, is_final, write_next_try
from muster.language.ancestry import INSTEAD, SKIPS, WAIT_SO, WAITING, WAITS
from muster.language.expressions import evaluate
from muster.language.kinds.operator import ResolvedOperator
from muster.recovery.ledger import Ledger
from muster.skills.results import finished, jsonable
from muster_airflow.egress import hold_pushes, leaves
from muster_airflow.operators.base import StepTask, retry_policy
from muster_airflow.operators.elsewhere import Elsewhere, patiently
from muster_airflow.operators.limits import Limit
from muster_airflow.starting import AlreadyThere, start_once, start_run

T = TypeVar("T")
Work = Callable[[BaseOperator], Any]
RUN_NAME = "trigger_run_id"
"""The argument in which an operator that starts a run names that run."""
TIMED_OUT = TriggerFailureReason.TRIGGER_TIMEOUT


class StartedBefore(Exception):
    """The run that an operator asks for is there already, and the operator is told to skip itself then."""


class ExternalStep(BaseOperator):
    """Runs an operator of another class: gives it its arguments at run time and writes down its result.

    Airflow's own templating is left out: one expression language is enough, and an argument that
    holds data from outside must not be rendered a second time.
    """

    custom_operator_name = "operator"
    ui_color = "#dcfce7"
    _muster_class: type[BaseOperator]
    _at_work: BaseOperator | None = None
    """The operator itself, while its own code runs."""

    def __init__(self, *, slot: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slot = slot

    @leaves
    def execute(self, context: Context) -> Any:
        """Render the arguments, run the operator, write down what it returned."""
        return self._performed(context, lambda operator: operator.execute(context))

    @leaves
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the operator had deferred itself."""
        return self._performed(
            context,
            lambda operator: operator.resume_execution(next_method, next_kwargs, context),
            resumed=True,
            waited_in_vain=_waited_in_vain(next_method, next_kwargs or {}),
        )

    def on_kill(self) -> None:
        """Airflow ends the task: the operator stops what it has started."""
        if self._at_work is not None:
            self._at_work.on_kill()

    def _performed(
        self, context: Context, work: Work, *, resumed: bool = False, waited_in_vain: bool = False
    ) -> Outcome:
        """Run the operator's own code; every way it can end goes to the log."""
        log = Elsewhere(context)
        work_item = log.load_begun()
        if isinstance(work_item, Outcome):
            return work_item
        seals, limit = log.ask(partial(log.services.log.aseals, work_item.ref.run)), Limit(work_item, resumed=resumed)
        if seals is not None:
            # The run is about somebody: what the operator pushes and logs must not reach Airflow, which forgets nobody.
            hold_pushes(context)
        try:
            if waited_in_vain:
                # The operator would take this timeout for one of its own, and might end with a skip or a success.
                limit.ensure_left()
            with working_about(seals):
                result = self._result(log.services, work_item, limit, work)
                answer = _answer(work_item, result, about_somebody=seals is not None)
        except AirflowRescheduleException:
            raise  # Not an ending: it begins again later. (One that defers itself goes on in `resume_execution`.)
        except StartedBefore as skip:
            return log.ended(work_item, work_item.skipped_itself(str(skip)))
        except AirflowSkipException as skip:
            log.write(work_item, work_item.skipped_itself(str(skip)))
            raise
        except Exception as error:
            never = is_final(error)
            # After these two errors Airflow makes no further try, however many are left, so the log must hold the
            # ending.
            if never or isinstance(error, AirflowFailException | AirflowSensorTimeout) or _last_try(context):
                log.write(work_item, work_item.failed(error))
            else:
                tried = partial(write_next_try, log.services, work_item, error, context["ti"].try_number)
                try:
                    ended = log.ask(tried)
                except RetriesExhausted as final:
                    raise final from error
                # The run was cancelled or has ended meanwhile: no further try may follow, so the task ends without an
                # error.
                if ended is not None:
                    return log.told(work_item, ended)
            if never:
                raise PermanentError(str(error)) from error
            raise
        return log.ended(work_item, work_item.succeeded(answer))

    def _result(self, services: Services, work_item: WorkItem, limit: Limit, work: Work) -> Any:
        step = work_item.step
        assert isinstance(step, ResolvedOperator)
        operator = self._instance(work_item, step)
        self._at_work = operator
        try:
            with limit.kept(operator):
                try:
                    return work(operator)
                except DagRunTriggerException as asked:
                    # Airflow would start the run only after this code has ended and the log says that the run was
                    # started. If Airflow then refused or the process died, the log would be wrong.
                    return _started(services, work_item, asked)
        except DownstreamTasksSkipped as asked:
            # Airflow would call the task a success and skip the tasks after it, perhaps `close`, and nothing of that
            # would be in the log.
            raise PermanentError(f"{step.operator} {SKIPS}.", remedy=INSTEAD) from asked
        except (TaskDeferred, TaskAwaitingInput, AirflowRescheduleException) as asked:
            limit.ends(asked)
            raise
        finally:
            self._at_work = None

    def _instance(self, work_item: WorkItem, step: ResolvedOperator) -> BaseOperator:
        """The operator itself, with the arguments of this run."""
        values = evaluate(step.arguments, work_item.variables, where=f"step {step.id}, with")
        try:
            operator = self._muster_class(task_id=self.task_id, **values)
        except (TypeError, ValueError) as error:
            raise PermanentError(f"{self._muster_class.__name__} does not take these arguments: {error}.") from error
        if not (getattr(operator, RUN_NAME, True) or _is_dated(operator)):
            # Without a name the operator makes up another one in every attempt, and so starts another run. This name is
            # the same for all attempts of one execution.
            own = sha256(f"{work_item.work}@{work_item.ref.epoch}".encode()).hexdigest()[:24]
            setattr(operator, RUN_NAME, f"muster__{own}")
        return operator


@cache
def external_step(path: str) -> type[BaseOperator]:
    """The class of a step that runs the operator at import path `path`.

    Raises:
        MusterError: it cannot be imported, or is not an operator.
    """
    try:
        operator_class = import_string(path)
    except ImportError as error:
        raise MusterError(
            f"The operator {path} cannot be imported: {error}.", remedy="Install the provider that holds it."
        ) from error
    if not (isinstance(operator_class, type) and issubclass(operator_class, BaseOperator)):
        raise MusterError(f"{path} is not an Airflow operator.")
    members = {
        "_muster_class": operator_class,
        "custom_operator_name": operator_class.__name__,
        "__module__": __name__,
        "__doc__": f"{path} as a step.",
    }
    # One class name for all of them, because Airflow finds the links of a task by its operator's class name.
    return type(ExternalStep.__name__, (ExternalStep,), members)


def _waited_in_vain(next_method: str, given: dict[str, Any]) -> bool:
    """True if Airflow ended the wait because its time was over: for a trigger, or for an answer (then the default)."""
    event = given.get("event")
    if isinstance(event, dict):
        return event.get("timedout") is True or event.get("error_type") == "timeout"
    return next_method == TRIGGER_FAIL_REPR and given.get("error") == TIMED_OUT


def _is_dated(operator: BaseOperator) -> bool:
    """True if Airflow names the started run after a date that the operator gives: one name in every attempt."""
    dated = isinstance(getattr(operator, "logical_date", None), str | datetime)
    return dated and getattr(operator, "run_after", None) is not None


def _started(services: Services, work_item: WorkItem, asked: DagRunTriggerException) -> dict[str, str]:
    """Start the run that an operator asks for; returns its `dag_id` and `run_id`.

    Raises:
        PermanentError: the operator would wait for the run, or a run of that name exists already.
        TransientError: Airflow did not start the run now; the step's `retry` decides.
        StartedBefore: a run of that name exists already, and the operator is told to skip itself then.
    """
    from airflow.sdk.execution_time.comms import TriggerDagRun

    if asked.wait_for_completion:
        raise PermanentError(f"`{WAITING}` {WAITS}.", remedy=WAIT_SO)
    names = {"dag_id": asked.trigger_dag_id, "run_id": asked.dag_run_id}
    given = {name: getattr(asked, name) for name in ("logical_date", "run_after", "conf", "note")}
    new = TriggerDagRun(**names, **given, reset_dag_run=False)
    work = f"{work_item.work}@{work_item.ref.epoch}"
    try:
        patiently(lambda: start_once(Ledger(services.database), work, work_item.ref.run, new))
    except AlreadyThere as error:
        there = f"There is a run {asked.dag_run_id} of {asked.trigger_dag_id} already, or one of its logical date."
        if asked.reset_dag_run:
            start_run(new.model_copy(update={"reset_dag_run": True}))
        elif asked.skip_when_already_exists:
            raise StartedBefore(there) from error
        else:
            raise PermanentError(
                there, remedy="Give each run a `trigger_run_id` of its own, or set `skip_when_already_exists`."
            ) from error
    return names


def _last_try(context: Context) -> bool:
    ti = context["ti"]
    # The same comparison as Airflow's (3.3.2, `TaskInstance.is_eligible_to_retry`). If the two differed, the log would
    # wait for a try that never comes, or hold an ending before another try.
    return bool(ti.try_number > ti.max_tries)


def _answer(work_item: WorkItem, result: Any, *, about_somebody: bool) -> ActionResult:
    """The result as the log holds it.

    Raises:
        Unwritable: it has no form in JSON.
    """
    step = work_item.step
    assert isinstance(step, ResolvedOperator)
    with finished(f"The operator {step.operator}", result):
        # `jsonable` first, because it refuses a result that contains itself; `schema_of` would not end on one.
        output = jsonable(result)
        # The schema is not sealed, and it holds the names of the result's fields, which may say something about
        # somebody.
        types = None if about_somebody else schema_of(result)
    return ActionResult(output=output, output_type=types, produced_by="operator")


def _operator(step: ResolvedOperator) -> type[BaseOperator]:
    return external_step(step.operator)


TASK = StepTask(_operator, lambda step: retry_policy(step.retry))
