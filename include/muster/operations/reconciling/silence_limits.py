"""How long a task of an open run may write nothing to the log before it counts as orphaned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from muster.events.keys import work_key
from muster.events.lifecycle import Execution
from muster.events.state import RunState
from muster.events.work import WorkState
from muster.execution.rerun_scope import preserved_steps_of
from muster.execution.task_keys import BEGINS_TO_UNDO, TaskKey, positions_of, task_of, works_of
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.operations.reconciling.findings import SLOWEST, Scope
from muster.recovery.heartbeats import UNHEARD
from muster.saga.children import LONGEST_UNDOING

AT_ONCE = timedelta(0)
"""The limit for work that has not begun, or that takes no time."""
OWN = frozenset({"close", BEGINS_TO_UNDO})
"""Ids of Airflow's tasks that stand for no step."""


@dataclass(frozen=True)
class RunUnderReview:
    """A run that is open in the log, with the execution that is under way."""

    run: RunState
    definition: Definition
    execution: Execution

    @cached_property
    def preserved_steps(self) -> frozenset[str] | None:
        """The steps that the execution leaves as they were; None when the log cannot tell."""
        return preserved_steps_of(self.definition, self.execution)

    def is_of_it(self, step: str, work: WorkState) -> bool:
        """True for work that counts in the execution under way: it was done in it, or its step is preserved."""
        return step in (self.preserved_steps or ()) or work.epoch == self.execution.epoch


def longest(scope: Scope, case: RunUnderReview, task: str) -> timedelta | None:
    """How long a task may be silent; None when there is no limit."""
    stands_for = task_of(case.definition, task)
    if task in OWN or (stands_for is not None and stands_for.role == "lays out"):
        return AT_ONCE
    if stands_for is None or stands_for.step.done_by == "people":
        return None
    step, undoes = stands_for.step, stands_for.role == "undoes"
    # A member of a team waits while others are at its tasks.
    all_of = case.run.step(step.id).works if step.pulls else works_of(case.run, stands_for)
    works = [
        work
        for work in all_of
        if (work.undoing is not None if undoes else work.status != "pending" and case.is_of_it(step.id, work))
    ]
    if not works or (step.id in (case.preserved_steps or ()) and not undoes):
        return AT_ONCE
    if step.done_by == "airflow" and not undoes:
        # An operator that waits in the triggerer writes nothing to the log, and Airflow alone enforces its timeout.
        return None
    if step.done_by == "runs":
        return _of_children(scope, step, works, undoes=undoes)
    if undoes:
        timeout = step.compensate.timeout if step.compensate is not None else None
    else:
        # Twice with a fallback: it follows the last attempt, takes as long as one, and writes no event when it begins.
        timeout = 2 * step.timeout if step.timeout is not None and step.fallback is not None else step.timeout
    if timeout is not None and not step.lock:
        return timedelta(seconds=timeout)
    # It may take, or wait for a lease, as long as it likes, and writes nothing to the log meanwhile. The process that
    # is at it gives signs of life, which a compensation does not.
    return None if undoes or _is_at_work(scope, case, stands_for) else timedelta(seconds=UNHEARD)


def _is_at_work(scope: Scope, case: RunUnderReview, task: TaskKey) -> bool:
    """True when a process gives signs of life at a work item of the task; of a team, at any task of the team."""
    task = task._replace(slot=None) if task.step.pulls else task
    run = case.run.id
    works = {f"{run}/{work_key(task.step.id, index)}" for index in positions_of(case.run, task)}
    # Looked at once more after a while: the database may have been away, or its clock may have been set forward.
    return not works.isdisjoint(scope.living(run)) or not works.isdisjoint(scope.living(run, awaited=True))


def until_tried_again(case: RunUnderReview, task: str) -> timedelta | None:
    """How long a task may wait for its next try by Airflow; None when there is no limit."""
    stands_for = task_of(case.definition, task)
    if stands_for is not None and stands_for.step.done_by == "airflow" and stands_for.role == "performs":
        # The step's `retry` says how long, and Airflow alone counts the tries.
        return None
    # For any other step the `retry` waits within its process, and Airflow's own pause is a few seconds.
    return AT_ONCE


def _of_children(scope: Scope, step: ResolvedStep, works: list[WorkState], *, undoes: bool) -> timedelta | None:
    """How long a task may be silent that waits for child runs, which write to logs of their own."""
    for child in (child for work in works for child in work.children):
        row = scope.queries.run_of(child)
        *_, last = [None, *scope.log.read(child, after_version=max(0, scope.log.version(child) - 1))]
        ended = row is not None and row.status not in ("open", "unknown")
        if last is None or not scope.has_rested(last.at, SLOWEST) or not (ended or undoes):
            return None
    if not undoes:
        return AT_ONCE
    # Twice: first the open child is waited for, then one of its compensations may take as long without an event.
    return 2 * timedelta(seconds=LONGEST_UNDOING if step.timeout is None else step.timeout)
