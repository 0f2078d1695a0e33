"""Airflow's supervisor as a task process sees it, which answers as it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse, GetDag, MaskSecret


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


def refused(status: int | None, **detail: Any) -> AirflowRuntimeError:
    """How Airflow's API says no."""
    answer = {"status_code": status, "message": "Server returned error", **detail}
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=answer))
