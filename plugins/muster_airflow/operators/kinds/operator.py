"""Any installed Airflow operator as a step: rendered by Muster, its result in the run's log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk._shared.module_loading import import_string
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

from muster.errors import MusterError, PermanentError
from muster.events.model import Event
from muster.events.sealing import working_about
from muster.execution.outcome import Outcome
from muster.execution.piece import Answer, Piece, failed, skipped_itself, succeeded
from muster.execution.retrying import NEVER
from muster.execution.services import Services
from muster.failures import classify
from muster.language.ancestry import INSTEAD, SKIPS
from muster.language.definition import ResolvedStep
from muster.language.expressions import evaluate
from muster_airflow.egress import concealed, hold_pushes, leaves
from muster_airflow.operators.base import StepTask, retry_policy
from muster_airflow.reference import work_ref


class ExternalStep(BaseOperator):
    """Runs an operator of another class: gives it its arguments at run time and writes down its result.

    Airflow's own templating is left out: one expression language is enough, and an argument that
    holds data from outside must not be rendered a second time.
    """

    custom_operator_name = "operator"
    ui_color = "#dcfce7"
    _muster_class: type[BaseOperator]

    def __init__(self, *, slot: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slot = slot

    @leaves
    def execute(self, context: Context) -> Any:
        """Render the arguments, run the operator, write down what it returned."""
        piece = _piece(context)
        if isinstance(piece, Outcome):
            return piece
        return _run(context, piece, lambda: self._instance(piece).execute(context))

    @leaves
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the operator had deferred itself."""
        piece = _piece(context)
        if isinstance(piece, Outcome):
            return piece
        return _run(context, piece, lambda: self._instance(piece).resume_execution(next_method, next_kwargs, context))

    def _instance(self, piece: Piece) -> BaseOperator:
        """The operator itself, with the arguments of this run."""
        values = evaluate(piece.step.arguments, piece.variables, where=f"step {piece.step.id}, with")
        try:
            return self._muster_class(task_id=self.task_id, **values)
        except (TypeError, ValueError) as error:
            raise PermanentError(f"{self._muster_class.__name__} does not take these arguments: {error}.") from error


@cache
def external_step(path: str) -> type[BaseOperator]:
    """The class of a step that runs the operator at import path `path`.

    Raises:
        MusterError: it cannot be imported, or is not an operator.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise MusterError(
            f"The operator {path} cannot be imported: {error}.", remedy="Install the provider that holds it."
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseOperator)):
        raise MusterError(f"{path} is not an Airflow operator.")
    members = {
        "_muster_class": found,
        "custom_operator_name": found.__name__,
        "__module__": __name__,
        "__doc__": f"{path} as a step.",
    }
    # One name for all of them: by it Airflow finds the links of a task.
    return type(ExternalStep.__name__, (ExternalStep,), members)


def _run(context: Context, piece: Piece, work: Any) -> Any:
    """Run the operator's own code; every way it can end goes to the log."""
    try:
        with _working(context, piece):
            result = work()
    except (TaskDeferred, TaskAwaitingInput, AirflowRescheduleException):
        raise  # It goes on later, in `resume_execution` or from the beginning.
    except AirflowSkipException as skip:
        _write(context, piece, skipped_itself(piece, str(skip)))
        raise
    except DagRunTriggerException as asked:
        # Airflow starts the other run once this code has ended; if it cannot, it fails the task,
        # and `close` takes its word for it.
        run = {"dag_id": asked.trigger_dag_id, "run_id": asked.dag_run_id}
        _write(context, piece, succeeded(piece, Answer(output=run)))
        raise
    except DownstreamTasksSkipped as asked:
        # Airflow would call the task a success and skip what comes after it, `close` maybe, past the log.
        refused = PermanentError(f"{piece.step.operator} {SKIPS}.", remedy=INSTEAD)
        _write(context, piece, failed(piece, refused))
        raise refused from asked
    except Exception as error:
        never = classify(error) in NEVER
        # Of the two Airflow makes no further try, whatever is left.
        if never or isinstance(error, AirflowFailException | AirflowSensorTimeout) or _last_try(context):
            _write(context, piece, failed(piece, error))
        if never:
            raise PermanentError(str(error)) from error
        raise
    ended = _write(context, piece, succeeded(piece, Answer(output=_jsonable(result))))
    return _told(context, piece, ended)


@contextmanager
def _working(context: Context, piece: Piece) -> Iterator[None]:
    """The operator's own code: what it logs and pushes in a run about somebody stays here."""
    services = _services(context)
    seals = services.database.run(services.log.aseals(piece.ref.run))
    if seals is not None:
        hold_pushes(context)
    with working_about(seals):
        yield


def _told(context: Context, piece: Piece, ended: Event) -> Outcome:
    from muster.execution.performing import outcome_of
    from muster_airflow.services import run

    services = _services(context)
    return run(services, concealed(services, piece.ref.run, piece.step.id, outcome_of(ended)))


def _piece(context: Context) -> Piece | Outcome:
    from muster.execution.performing import begin
    from muster_airflow.services import run

    services = _services(context)

    async def begun() -> Piece | Outcome:
        ref = await work_ref(services, context["ti"], context["dag_run"], lane="worker")
        piece = await begin(services, ref)
        return await concealed(services, ref.run, ref.step, piece) if isinstance(piece, Outcome) else piece

    return run(services, begun())


def _write(context: Context, piece: Piece, event: Any) -> Event:
    from muster.execution.fanout import end
    from muster_airflow.services import run

    services = _services(context)
    return run(services, end(services, piece.ref, [event]))[0]


def _services(context: Context) -> Services:
    from muster_airflow.services import services_in_worker

    return services_in_worker(context)


def _last_try(context: Context) -> bool:
    ti = context["ti"]
    return bool(ti.try_number > ti.max_tries)


def _jsonable(value: Any) -> Any:
    """The result as JSON-ready data; what has no JSON form is kept as text."""
    from pydantic import TypeAdapter

    return TypeAdapter(Any).dump_python(value, mode="json", fallback=str)


def _operator(step: ResolvedStep) -> type[BaseOperator]:
    assert step.operator is not None
    return external_step(step.operator)


TASK = StepTask(_operator, lambda step: retry_policy(step.retry))
