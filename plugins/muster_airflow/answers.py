"""People's answers in Airflow's API server: written into the log before Airflow takes them.

Airflow may take a task for failed that it has just woken with an answer (apache/airflow#72716), and then it forgets the
answer. So an answer is decided here, inside Airflow's transaction and before its commit. If the log cannot be written,
the request fails in words and Airflow stores nothing. If Airflow's own transaction fails after that, the question stays
open in Airflow, and the log has the decision: the task finds it there, or the next person who answers is told of it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from muster.approvals import Decision, Reply, take_reply
from muster.errors import MusterError, TransientError
from muster_airflow.reference import QUESTION, work_ref
from muster_airflow.services import services_in_server

if TYPE_CHECKING:
    from airflow.models.hitl import HITLDetail

LONGEST_WAIT = 20.0
"""Seconds the log may take: Airflow's transaction, and a thread of its API server, wait meanwhile."""
STATUS = {
    "counted": HTTPStatus.ACCEPTED,
    "refused": HTTPStatus.FORBIDDEN,
    "closed": HTTPStatus.CONFLICT,
}
"""What a person is told of an answer that does not wake the task; the question stays as it is in Airflow."""

log = logging.getLogger(__name__)


def listen() -> None:
    """Have every answer written into the log before Airflow stores it; needed once in each process."""
    from airflow.models.hitl import HITLDetail
    from sqlalchemy import event

    if not event.contains(HITLDetail, "before_update", _before_update):
        event.listen(HITLDetail, "before_update", _before_update)


def _before_update(mapper: Any, connection: Any, detail: HITLDetail) -> None:
    """Raise what Airflow answers in place of storing; return to have the answer stored and the task woken."""
    from sqlalchemy import inspect

    changes: Any = inspect(detail)
    ti: Any = detail.task_instance
    # An update without a person is no answer: Airflow empties the row when the question is put again, or the time of
    # the question is over.
    if (who := detail.responded_by) is None or not changes.attrs.responded_at.history.added:
        return
    if ti.operator != QUESTION:
        return
    approved, at = detail.chosen_options == ["Approve"], detail.responded_at or datetime.now(UTC)
    reply = Reply.of(who, approved=approved, at=at, form=detail.params_input)
    try:
        # Airflow's route is a plain function (3.3.2, `update_hitl_detail`), which FastAPI runs in a thread: no event
        # loop runs here that this would hold up.
        decision = asyncio.run(asyncio.wait_for(_take(ti, reply), LONGEST_WAIT))
    except (TransientError, TimeoutError, OSError) as error:
        log.exception("An answer could not be written into Muster's log.")
        # The write may have reached the log before the connection was lost, so the words claim neither. The error rolls
        # Airflow's transaction back: Airflow may store only an answer that the log has for certain.
        words = f"It is not known whether the answer counts: Muster's log does not answer ({type(error).__name__})."
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"{words} Answer again; it counts once.") from error
    except MusterError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from error
    except Exception as error:
        log.exception("An answer could not be taken.")
        words = f"The answer was not taken: {type(error).__name__}; the API server's log says more."
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"{words} Answer again; it counts once.") from error
    # Raised also for the first of two approvals, which the log has taken: it must not wake the task, and Airflow's
    # rollback leaves the question open for the second person.
    if decision.status != "settled":
        raise HTTPException(STATUS[decision.status], decision.message)
    _wake(connection, ti.id)


def _wake(connection: Any, ti: Any) -> None:
    """Have a waiting task go on.

    Airflow does so itself, except in one case: it reads the task just before the task begins to wait, and locks the row
    just after. Then it goes by what it has read, wakes nobody, and the task would wait for ever.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import update

    waits = (TaskInstance.id == ti, TaskInstance.state == TaskInstanceState.AWAITING_INPUT)
    now = {"state": TaskInstanceState.SCHEDULED, "scheduled_dttm": datetime.now(UTC)}
    connection.execute(update(TaskInstance).where(*waits).values(now))


async def _take(ti: Any, reply: Reply) -> Decision:
    services = services_in_server()
    try:
        return await take_reply(services, await work_ref(services, ti, ti.dag_run, lane="worker"), reply)
    finally:
        # Each answer has an event loop of its own, and with it a pool of connections that nobody else would close.
        await services.database.aclose()
