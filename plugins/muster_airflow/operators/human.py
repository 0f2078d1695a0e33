"""A person's decision, on Airflow's own approval: it fails closed and is never retried."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from muster.errors import PermanentError
from muster.execution.human import Request, request, respond
from muster.execution.kept_answers import keep_answer
from muster.execution.outcome import Outcome
from muster.execution.piece import Piece, failed
from muster.execution.services import Services
from muster_airflow.operators.steps import report
from muster_airflow.reference import work_ref


class HumanStep(ApprovalOperator):
    """Asks a person, waits without a worker, and writes down the answer.

    No answer in time, an answer by the requester, and anything but a clear approval are rejections.
    A rejection is an answer: the task succeeds, and what comes after it is skipped.
    """

    custom_operator_name = "human"
    ui_color = "#ffedd5"

    def __init__(self, *, slot: int | None = None, **kwargs: Any) -> None:
        # Airflow would ask again on a retry: an approval is asked once.
        kwargs["retries"] = 0
        super().__init__(subject=kwargs["task_id"], defaults=self.REJECT, **kwargs)
        self.slot = slot

    def execute(self, context: Context) -> Any:
        """Work out the question and put it to its assignees."""
        from muster_airflow.services import run, services_in_worker

        services = services_in_worker(context)
        asked = run(services, self._ask(services, context))
        if isinstance(asked, Outcome):
            return report(asked)
        return self._wait(context, asked)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Write down the answer that Airflow collected."""
        from muster_airflow.services import run, services_in_worker

        services = services_in_worker(context)
        settled = run(services, self._answered(services, context, event))
        # Asked anew, Airflow drops the answer that settled nothing and waits for the next.
        return self._wait(context, settled) if isinstance(settled, Request) else settled

    def _wait(self, context: Context, asked: Request) -> Any:
        """Put the question, or put it again, until somebody answers or it is time to look at it.

        Airflow keeps the assignees of the first time, so all who may ever answer are named then; who may answer
        when is for the log to decide.
        """
        self.subject, self.body = asked.subject, asked.body
        self.assigned_users = [{"id": name, "name": name} for name in asked.assignees]
        self.response_timeout = timedelta(seconds=asked.within) if asked.within else None
        return super().execute(context)

    async def _ask(self, services: Services, context: Context) -> Any:
        piece = await self._begin(services, context)
        if isinstance(piece, Outcome):
            return piece
        try:
            return await keep_answer(services, piece) or await request(services, piece)
        except PermanentError as error:
            await services.log.aappend(piece.ref.run, [failed(piece, error)])
            raise AirflowFailException(str(error)) from error

    async def _answered(self, services: Services, context: Context, event: dict[str, Any]) -> Any:
        piece = await self._begin(services, context)
        if isinstance(piece, Outcome):
            return report(piece)
        user = event.get("responded_by_user")
        approved = event.get("chosen_options") == [self.APPROVE] and "error" not in event
        by = (user or {}).get("id")
        return await respond(services, piece, approved=approved, by=by, at=_answered_at(event), note=_note(event))

    async def _begin(self, services: Services, context: Context) -> Piece | Outcome:
        from muster.execution.performing import begin

        return await begin(services, await work_ref(services, context["ti"], context["dag_run"], lane="worker"))


def _answered_at(event: dict[str, Any]) -> datetime | None:
    """When the answer came: this task may have been started long after."""
    at = event.get("responded_at")
    at = datetime.fromisoformat(at) if isinstance(at, str) else at
    return at if isinstance(at, datetime) and at.tzinfo is not None else None


def _note(event: dict[str, Any]) -> str | None:
    note = (event.get("params_input") or {}).get("note")
    return str(note) if note else None
