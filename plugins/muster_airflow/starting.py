"""Asks Airflow, from a task process, for a run of a Dag, and about one."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

from muster.errors import PermanentError, TransientError
from muster.recovery.effects import POLL, IdempotentEffect
from muster.recovery.ledger import NEVER_HAPPENED, Effect, EffectConflict, EffectResult, Happened, Ledger

if TYPE_CHECKING:
    from airflow.sdk.execution_time.comms import TriggerDagRun

REFUSED = frozenset({400, 404, 422})
"""Airflow's answers to a request it will never grant: no such Dag, an unreadable Dag, inputs that do not fit."""

CLAIM = 15.0
"""Seconds for which the name of a run stays claimed by a process that was killed as it started it."""


class AlreadyThere(PermanentError):
    """There is such a run, and somebody else has started it."""


def start_once(ledger: Ledger, work: str, run: str, asked: TriggerDagRun) -> None:
    """Have Airflow start a run for a work item of `run`, once, however often it is asked.

    The ledger holds a claim on the run's name before Airflow is asked. So a run whose answer was lost is told apart
    from a run that somebody else has started, and of several work items that give the same name one starts the run.

    Raises:
        AlreadyThere: somebody else has started a run of that name.
        PermanentError: Airflow will never start the run.
        TransientError: Airflow did not start it now, or somebody else is about to; asking again later may help.
    """
    names = {"dag_id": asked.dag_id, "run_id": asked.run_id}
    # Hashed, because a run's name may say whom it is about, and the ledger is not sealed.
    key = f"dag-run/{sha256(f'{asked.dag_id}/{asked.run_id}'.encode()).hexdigest()}"
    effect = Effect.of(key, f"run of {asked.dag_id}", work, run)
    until = time.monotonic() + 2 * CLAIM
    while True:
        # Looked for before the claim: with a claim but before its own request, a process that died here would leave a
        # claim by which the next attempt takes somebody else's run for its own.
        if not ledger.knows(key) and is_there(**names):
            raise AlreadyThere("It was there before.")
        try:
            with IdempotentEffect(ledger, effect, lambda: _found(names), patience=CLAIM, grace=0) as claim:
                if not claim.happened:
                    _start_new(asked, names)
            return
        except EffectConflict as other:
            if is_there(**names):
                raise AlreadyThere("Somebody else has started it.") from other
            # Another work item holds the name and Airflow has no such run: free the name if that claim is over, else
            # wait, because the other one may be about to ask Airflow.
            if not ledger.free(key, other) and time.monotonic() >= until:
                raise TransientError(f"Somebody else is starting the run {asked.run_id} of {asked.dag_id}.") from other
        time.sleep(POLL)


def _found(names: dict[str, str]) -> Happened | EffectResult:
    return Happened() if is_there(**names) else NEVER_HAPPENED


def _start_new(asked: TriggerDagRun, names: dict[str, str]) -> None:
    try:
        new = start_run(asked)
    except TransientError:
        # Only the answer may have been lost: then the run is there, and it is ours, because the name was claimed.
        if not is_there(**names):
            raise
        return
    # Airflow says that a run exists also of another run with the same logical date, and when our request reached it
    # twice. Only the name tells which of them it is.
    if not new and not is_there(**names):
        raise AlreadyThere("There is another one of its logical date.")


def start_run(asked: TriggerDagRun) -> bool:
    """Have Airflow start a run; False when one of that name is there already.

    Raises:
        PermanentError: it cannot be started.
        TransientError: Airflow did not start it now.
    """
    from airflow.sdk.execution_time.comms import ErrorResponse

    return not isinstance(_answer(asked.dag_id, asked), ErrorResponse)


def is_paused(dag_id: str) -> bool:
    """True for a Dag of which no run begins.

    Raises:
        PermanentError: there is no such Dag.
        TransientError: Airflow did not say.
    """
    from airflow.sdk.execution_time.comms import GetDag

    # Nothing else is looked at: of a Dag that is stale or has import errors Airflow refuses to start a run, with why.
    return bool(_answer(dag_id, GetDag(dag_id=dag_id)).is_paused)


def is_there(dag_id: str, run_id: str) -> bool:
    """True for a run that was started before.

    Raises:
        TransientError: Airflow did not say.
    """
    from airflow.sdk.execution_time.comms import GetDagRunState

    try:
        # Of a run that it does not know Airflow says 404, which `_answer` raises as a refusal.
        _answer(dag_id, GetDagRunState(dag_id=dag_id, run_id=run_id))
    except PermanentError:
        return False
    return True


def _answer(dag_id: str, message: Any) -> Any:
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    try:
        answer = task_runner.SUPERVISOR_COMMS.send(message)
    except AirflowRuntimeError as error:
        answer = error.error
    if not isinstance(answer, ErrorResponse) or answer.error == ErrorType.DAGRUN_ALREADY_EXISTS:
        return answer
    detail = answer.detail or {}
    if detail.get("status_code") in REFUSED:
        raise PermanentError(
            f"Airflow starts no run of {dag_id}: {_said(detail)}.",
            remedy=f"Look at {dag_id} in Airflow's list of Dags and their import errors.",
        )
    raise TransientError(f"Airflow did not start a run of {dag_id}: {answer.error}.")


def _said(detail: dict[str, Any]) -> str:
    """Airflow's reason in the answer of its API."""
    inner: Any = detail.get("detail")
    while isinstance(inner, dict) and ("detail" in inner or "message" in inner):
        inner = inner.get("message") or inner.get("detail")
    return str(inner or detail.get("message") or "it does not know it")
