"""Airflow's supervisor as a task process sees it, which answers as it is told."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import (
    DagRunStateResult,
    ErrorResponse,
    GetDag,
    GetDagRunState,
    MaskSecret,
    OKResponse,
    TriggerDagRun,
)


class Supervisor:
    """Airflow's supervisor, which answers as it is told, and of the Dag whether it is paused."""

    def __init__(self, answer: Any, *, paused: bool = False) -> None:
        self.answer, self.paused, self.asked = answer, paused, list[Any]()

    def send(self, msg: Any) -> Any:
        """The answer; an error is raised."""
        if isinstance(msg, GetDag):
            return SimpleNamespace(is_paused=self.paused)
        if not isinstance(msg, MaskSecret):
            self.asked.append(msg)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def asend(self, message: Any) -> Any:
        """`send` for coroutines."""
        return self.send(message)


class StartsRuns(Supervisor):
    """Airflow, which keeps the runs that it has started; its first answers, from the first start on, may be lost.

    Before that it may leave the first looks for a run unanswered.
    """

    def __init__(
        self,
        runs: MutableMapping[str, Any] | None = None,
        *,
        lost: int = 0,
        repeats: bool = False,
        takes: float = 0,
        silent: int = 0,
    ) -> None:
        super().__init__(None)
        self.runs: MutableMapping[str, Any] = {} if runs is None else runs
        """What each was given, by name: the same for several processes when it is theirs."""
        self.begun = list[str]()
        """The names of those that began, each time."""
        self.lost, self.repeats, self.takes, self.silent = lost, repeats, takes, silent

    def send(self, msg: Any) -> Any:
        """The answer; one that is asked for again by Airflow's own client says that the run is there."""
        time.sleep(self.takes / 2)
        if isinstance(msg, TriggerDagRun):
            self.asked.append(msg)
            answer = self._start(msg)
        elif isinstance(msg, GetDagRunState) and self.silent:
            self.silent -= 1
            raise refused(503)
        elif isinstance(msg, GetDagRunState):
            answer = DagRunStateResult(state="running") if msg.run_id in self.runs else refused(404)  # type: ignore[arg-type]
        else:
            return super().send(msg)
        time.sleep(self.takes / 2)
        if self.asked and self.lost:
            self.lost -= 1
            answer = refused(503)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self, asked: TriggerDagRun) -> Any:
        given = {**(asked.conf or {}), "by": uuid4().hex}
        is_new = self.runs.setdefault(asked.run_id, given) == given
        if is_new or asked.reset_dag_run:
            self.begun.append(asked.run_id)
        if (is_new and not self.repeats) or asked.reset_dag_run:
            return OKResponse(ok=True)
        return ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS)


def refused(status: int | None, **detail: Any) -> AirflowRuntimeError:
    """How Airflow's API says no."""
    answer = {"status_code": status, "message": "Server returned error", **detail}
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=answer))
