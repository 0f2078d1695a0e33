"""What every task of an automation has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from muster.language.resolved import ResolvedRetry
    from muster.language.resolved_step import ResolvedStep
    from muster.skills.index import Lane

S = TypeVar("S", bound="ResolvedStep")

RESTARTS = 3
"""How often Airflow restarts a worker task whose process died. A step that failed is not repeated by this."""

WAKE_UPS = 1_000
"""How often Airflow starts a question's task again. Each time it is woken (by a reminder, the end of its time, the
answer) Airflow may take it for failed, once (apache/airflow#72716): far more than a question can have of these."""


class MusterOperator(BaseOperator):
    """A task of an automation. Which step it performs follows from its task id."""

    ui_fgcolor = "#10182b"


def retry_policy(retry: ResolvedRetry) -> dict[str, Any]:
    """A step's own `retry` as Airflow's arguments: an operator may defer itself, so only Airflow can repeat it."""
    return {
        "retries": retry.times,
        "retry_delay": timedelta(seconds=retry.delay),
        "retry_exponential_backoff": retry.backoff,
        "max_retry_delay": timedelta(seconds=retry.max_delay),
    }


def restart_policy() -> dict[str, Any]:
    """Arguments that let Airflow restart a worker task after its process died."""
    return {"retries": RESTARTS, "retry_delay": timedelta(seconds=5), "retry_exponential_backoff": 2.0}


def question_policy() -> dict[str, Any]:
    """Arguments that let Airflow restart a question's task that it took for failed. The people are not asked again."""
    return {"retries": WAKE_UPS, "retry_delay": timedelta(seconds=2)}


def _restarts(step: ResolvedStep) -> dict[str, Any]:
    # Tasks in the triggerer need no retries: when a triggerer dies, Airflow gives its triggers to another one and
    # counts no try.
    return restart_policy() if step.lane == "worker" else {}


@dataclass(frozen=True)
class StepTask(Generic[S]):
    """A kind of step as a task of Airflow's."""

    operator: Callable[[S], type[BaseOperator]]
    """The class of a step's task: its name and colour are what people see in the graph."""
    retries: Callable[[S], dict[str, Any]] = _restarts
    """Arguments that say what Airflow does when a task dies or fails."""

    @staticmethod
    def by_lane(operators: Mapping[Lane, type[BaseOperator]]) -> StepTask[ResolvedStep]:
        """One class for each lane that the kind has."""
        return StepTask(lambda step: operators[step.lane])
