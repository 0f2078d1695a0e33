"""People's answers in Airflow's API server: written into the log before Airflow takes them.

Airflow may take a task for failed that it has just woken with an answer (apache/airflow#72716), and then it forgets the
answer. So an answer is decided here, inside Airflow's transaction and before its commit, and the task ends in the same
transaction instead of being woken. If the log cannot be written, the request fails in words and Airflow stores nothing.
If Airflow's own transaction fails after that, the question stays open in Airflow, and the log has the decision: the
task finds it there, or the next person who answers is told of it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from muster.approvals import Decision, Reply, take_reply
from muster.errors import MusterError, TransientError
from muster.execution import Outcome, concealed
from muster_airflow.egress import shown
from muster_airflow.reference import QUESTION, work_ref
from muster_airflow.services import services_in_server

if TYPE_CHECKING:
    from airflow.models.hitl import HITLDetail
    from sqlalchemy.orm import Session

LONGEST_WAIT = 20.0
"""Seconds the log may take: Airflow's transaction, and a thread of its API server, wait meanwhile."""
STATUS = {
    "counted": HTTPStatus.ACCEPTED,
    "refused": HTTPStatus.FORBIDDEN,
    "closed": HTTPStatus.CONFLICT,
}
"""What a person is told of an answer that does not end the task; the question stays as it is in Airflow."""

log = logging.getLogger(__name__)


def listen() -> None:
    """Have every answer written into the log before Airflow stores it; needed once in each process."""
    from airflow.models.hitl import HITLDetail
    from sqlalchemy import event

    if not event.contains(HITLDetail, "before_update", _before_update):
        event.listen(HITLDetail, "before_update", _before_update)


def _before_update(mapper: Any, connection: Any, detail: HITLDetail) -> None:
    """Raise what Airflow answers in place of storing; return to have the answer stored and the task ended."""
    from sqlalchemy import event, inspect

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
        decision, told = asyncio.run(asyncio.wait_for(_take(ti, reply), LONGEST_WAIT))
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
    # Raised also for the first of two approvals, which the log has taken: it must not end the task, and Airflow's
    # rollback leaves the question open for the second person.
    if decision.status != "settled":
        raise HTTPException(STATUS[decision.status], decision.message)
    # Not here: what the request does to the task is written in this flush, or in one that comes after it.
    event.listen(changes.session, "after_flush_postexec", partial(_end, ti=ti.id, value=shown(told.output)))


def _end(session: Session, flush: Any, *, ti: Any, value: Any) -> None:
    """End a waiting task with `value`, in place of a second process in which it would find its answer in the log.

    A task that does not wait yet is left alone: the process that put the question finds the answer as it begins to
    wait. The state is the database's: Airflow may have read the task just before it began to wait and locked its row
    just after, and then it would wake nobody.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance as Task
    from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import delete, insert, or_, select, update

    # Statements and no objects: a session cannot flush in the middle of a flush.
    connection, now = session.connection(), datetime.now(UTC)
    is_woken = (Task.state == TaskInstanceState.SCHEDULED) & Task.next_method.is_not(None)
    ending = (
        update(Task)
        .where(Task.id == ti, or_(Task.state == TaskInstanceState.AWAITING_INPUT, is_woken))
        .values(state=TaskInstanceState.SUCCESS, end_date=now, next_method=None, next_kwargs=None)
    )
    ending = Task.duration_expression_update(now, ending, session.get_bind())
    place = (Task.dag_id, Task.run_id, Task.task_id, Task.map_index)
    if (task := connection.execute(ending.returning(*place)).one_or_none()) is not None:
        run = select(DagRun.id).where(DagRun.dag_id == task.dag_id, DagRun.run_id == task.run_id).scalar_subquery()
        own = {"key": XCOM_RETURN_KEY, **task._mapping}
        connection.execute(delete(XComModel).filter_by(**own))
        connection.execute(insert(XComModel).values(dag_run_id=run, value=value, **own))


async def _take(ti: Any, reply: Reply) -> tuple[Decision, Outcome]:
    """What the answer means, and the step's outcome as Airflow may know it."""
    services = services_in_server()
    try:
        ref = await work_ref(services, ti, ti.dag_run, lane="worker")
        decision = await take_reply(services, ref, reply)
        outcome = Outcome(status="succeeded", output=decision.output)
        return decision, await concealed(services, ref.run, ref.step, outcome)
    finally:
        # Each answer has an event loop of its own, and with it a pool of connections that nobody else would close.
        await services.database.aclose()
