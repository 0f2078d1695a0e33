"""Airflow's supervisor as a task process sees it, which answers as it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
    """Airflow, which keeps the runs that it has started; its first answers, from the first start on, may be lost."""

    def __init__(self, *, lost: int = 0, repeats: bool = False) -> None:
        super().__init__(None)
        self.runs, self.lost, self.repeats = set[str](), lost, repeats

    def send(self, msg: Any) -> Any:
        """The answer; one that is asked for again by Airflow's own client says that the run is there."""
        if isinstance(msg, TriggerDagRun):
            self.asked.append(msg)
            is_new = msg.run_id not in self.runs and not self.repeats
            self.runs.add(msg.run_id)
            answer: Any = OKResponse(ok=True) if is_new else ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS)
        elif isinstance(msg, GetDagRunState):
            answer = DagRunStateResult(state="running") if msg.run_id in self.runs else refused(404)  # type: ignore[arg-type]
        else:
            return super().send(msg)
        if self.asked and self.lost:
            self.lost -= 1
            answer = refused(503)
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(status: int | None, **detail: Any) -> AirflowRuntimeError:
    """How Airflow's API says no."""
    answer = {"status_code": status, "message": "Server returned error", **detail}
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=answer))
