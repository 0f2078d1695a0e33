"""What the reconciler is given in tests: an Airflow that says what it is told to, and a site with something to undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from muster.errors import TransientError
from muster.execution.performing import perform
from muster.execution.references import WorkRef
from muster.execution.run_executions import Epoch, begin_epoch, instant
from muster.execution.view import definition_of
from muster.operations.reconciling import Discrepancy, Scope, reconcile
from support.runs import Played, Site
from support.sources import source_of

LATER = timedelta(hours=1)
SKILLS = source_of(__file__, "reconciled")
UNDONE = """automation: a
incidents: [{slack: "#stuck"}]
steps:
  - {id: one, skill: depot.act, with: {name: one}, compensate: {skill: depot.undo}}
  - {id: two, skill: depot.act, with: {name: two}}
"""


class FakeAirflow:
    """What Airflow would say, and what it was asked to do."""

    def __init__(self, state: str | None = "failed", tasks: Mapping[str, str | None] | None = None) -> None:
        goes_on = state in ("queued", "running")
        otherwise = {"open": "running"} if goes_on else {"close": "failed"}
        self.run_state, self.task_states = state, otherwise if tasks is None else tasks
        self.restarted: list[str] = []
        self.cleared: list[list[str]] = []
        self.put_off: dict[tuple[str, str], datetime] = {}
        self.refuses, self.clears, self.is_paused = False, True, False

    def state(self, dag_id: str, run_id: str) -> str | None:
        return self.run_state

    def paused(self, dag_id: str) -> bool:
        return self.is_paused

    def running(self, dag_id: str, run_ids: Sequence[str]) -> Sequence[str]:
        return run_ids if self.run_state in ("queued", "running") else ()

    def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
        return self.task_states

    def unopened(self) -> Mapping[tuple[str, str], datetime]:
        return self.put_off

    def restart(self, dag_id: str, run_id: str, *, latest: bool = False) -> None:
        if self.refuses:
            raise TransientError("no answer")
        self.restarted.append(f"{run_id} on the latest version" if latest else run_id)

    def clear(self, dag_id: str, run_id: str, tasks: Sequence[str]) -> bool:
        if self.refuses:
            raise TransientError("no answer")
        if self.clears:
            self.cleared.append(list(tasks))
        return self.clears


def found(site: Site, airflow: FakeAirflow, *, later: timedelta = LATER, **how: Any) -> list[Discrepancy]:
    def send(notice: Any) -> None:
        site.do(site.services.notices.send(notice))

    now = datetime.now(UTC) + later
    given = {"send": send, "patience": 0.0} | how
    return reconcile(Scope(database=site.services.database, airflow=airflow, now=now, **given))


def told(site: Site) -> list[tuple[str, str]]:
    """Where people were told what, by whom it was found."""
    return [(entry.target, entry.key) for entry in site.services.notices.outbox.entries() if "reconciler/" in entry.key]


async def begun_again(site: Site, run: str) -> int:
    """The epoch of an execution that Airflow starts now."""
    return (await begun(site, run)).number


async def begun(site: Site, run: str) -> Epoch:
    """The execution that Airflow starts now."""
    at = instant(datetime.now(UTC))
    return await begin_epoch(site.services, run, f"begun/{at}", at)


def performed_whole(site: Site, run: str, *, until: str | None = None) -> dict[str, str]:
    """Do what Airflow does once all tasks of a run are cleared, as far as a step; how each task ended."""
    epoch = site.do(begun(site, run))
    ended: dict[str, str] = {}
    for step in site.do(definition_of(site.services, run)).steps:
        if step.id == until:
            return ended
        ref = WorkRef(run=run, step=step.id, epoch=epoch.number, is_preserved=step.id in epoch.preserved_steps)
        for task in site.do(Played(site).tasks(ref)):
            name = step.id if task.slot is None else f"{step.id}_{task.slot}"
            ended[name] = site.do(perform(site.services, task)).status
    states = {task: {"succeeded": "success"}.get(status, status) for task, status in ended.items()}
    ended["unwind"] = site.unwind(run, states, epoch=epoch.number)
    ended["close"] = site.close(run, states, epoch=epoch.number).status
    return ended
