"""A person's decision, on Airflow's own approval: it fails closed, and is asked once however often the task runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowRuntimeError, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from muster.approvals import Reply, Request, ask, look, respond
from muster.errors import PermanentError
from muster.execution import Outcome, WorkItem
from muster.language.kinds.human import ResolvedHumanStep
from muster_airflow.egress import leaves
from muster_airflow.operators.base import StepTask, question_policy
from muster_airflow.operators.elsewhere import Elsewhere
from muster_airflow.storable import storable


class HumanStep(ApprovalOperator):
    """Asks a person, waits without a worker, and says how it was decided.

    An answer is in the log before Airflow stores it (`muster_airflow.answers`); the task only reports what the log
    says. So Airflow may begin the task again at any time: nobody is asked again, and the time to answer stays as it was
    given. No answer in time is a rejection, and so is every answer but a clear approval. A rejection is a result: the
    task succeeds, and the steps after it are skipped.
    """

    custom_operator_name = "human"
    ui_color = "#ffedd5"

    def __init__(self, *, slot: int | None = None, **kwargs: Any) -> None:
        # No default: with one, Airflow would answer the question by it when a time is over, also when the task is only
        # woken to remind somebody.
        super().__init__(subject=kwargs["task_id"], defaults=None, **kwargs)
        self.slot = slot

    @leaves
    def execute(self, context: Context) -> Any:
        """Put the question to its assignees, or go on with it when it was put already."""
        return self._go_on(context, None)

    @leaves
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Say how it was decided; put the question again when it is not."""
        return self._go_on(context, _reply(event or {}))

    def _go_on(self, context: Context, reply: Reply | None) -> Any:
        log = Elsewhere(context)
        work_item = log.load_begun()
        if isinstance(work_item, Outcome):
            return work_item
        if reply is not None:
            asked = log.ask(partial(respond, log.services, work_item, reply))
        else:
            asked = self._or_failed(log, work_item, partial(log.ask, partial(ask, log.services, work_item)))
        if isinstance(asked, Request):
            self._or_failed(log, work_item, partial(self._put, context, asked))
            # First put the question, then look into the log. Airflow drops an answer that it held before the question
            # was put again; the log has it, because it is written before Airflow stores it. An answer that comes after
            # this look is seen by Airflow when the task begins to wait.
            asked = log.ask(partial(look, log.services, work_item.ref))
        if isinstance(asked, Request):
            # The log, not Airflow, knows when to remind, escalate or give up; Airflow only wakes the task then.
            timeout = timedelta(seconds=asked.within) if asked.within else None
            raise TaskAwaitingInput(method_name="execute_complete", timeout=timeout)
        # `told` leaves the person's note out if the run is about somebody.
        return log.told(work_item, asked if isinstance(asked, Outcome) else Outcome(status="succeeded", output=asked))

    @staticmethod
    def _or_failed(log: Elsewhere, work_item: WorkItem, work: Callable[[], Any]) -> Any:
        """The result of `work`; if the question cannot be put, write the step's failure and raise the error."""
        try:
            return work()
        except PermanentError as error:
            log.write(work_item, work_item.failed(error))
            raise

    def _put(self, context: Context, asked: Request) -> None:
        """Have Airflow show the question.

        Airflow keeps the assignees of the first call, so everybody who may ever answer is named there. The log decides
        who may answer at which time. The API server adds the assignees' ids (`muster_airflow.people`).

        Raises:
            PermanentError: Airflow knows none of the assignees.
        """
        self.subject, self.body = storable(asked.subject), storable(asked.body)
        self.assigned_users = [{"id": name, "name": name} for name in asked.assignees]
        try:
            upsert_hitl_detail(
                ti_id=context["ti"].id,
                options=self.options,
                subject=self.subject,
                body=self.body,
                defaults=None,
                multiple=False,
                params={},
                assigned_users=self.assigned_users,
            )
        except AirflowRuntimeError as error:
            told = error.error.detail or {}
            if told.get("status_code") == HTTPStatus.UNPROCESSABLE_ENTITY:
                raise PermanentError(str((told.get("detail") or {}).get("detail") or error)) from error
            raise


def _reply(event: dict[str, Any]) -> Reply | None:
    """The answer that Airflow woke the task with; None when the task was woken only because a time was over.

    The answer is in the log already, unless the API server runs without Muster's plugin.
    """
    user = event.get("responded_by_user")
    if user is None or "error" in event:
        return None
    approved = event.get("chosen_options") == [ApprovalOperator.APPROVE]
    return Reply.of(user, approved=approved, at=_answered_at(event), form=event.get("params_input"))


def _answered_at(event: dict[str, Any]) -> datetime:
    """When the answer came: this task may have been started long after."""
    at = event.get("responded_at")
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return at if isinstance(at, datetime) and at.tzinfo is not None else datetime.now(UTC)


TASK: StepTask[ResolvedHumanStep] = StepTask(lambda step: HumanStep, lambda step: question_policy())
