"""Which execution of a run this is, told from when Airflow started it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from muster.events.model import Event, NewEvent
from muster.execution import run_executions
from muster.execution.personal import RunLog
from muster.execution.run_executions import begin_epoch, epoch_of
from muster.runs.opening import Opening, open_run
from support.runs import MASTER, Site

FIRST = datetime(2026, 11, 21, 8, 0, 0, 123456, UTC)
AUTOMATION = "automation: a\nsteps:\n  - {id: b, notify: [{slack: '#x', text: y}]}\n"


def opened(site: Site, started: datetime | None) -> None:
    definition = site.definition(AUTOMATION)
    opening = Opening(
        run="a/1", dag_id="a", dag_run_id="1", definition=definition, bundle_version=None, started=started
    )
    site.do(open_run(site.services, opening))


def epoch(site: Site, started: datetime | None) -> int:
    run_executions._epochs.clear()  # as another process has it
    found: run_executions.Epoch = site.do(epoch_of(site.services, "a/1", started))
    return found.number


def test_each_start_of_a_run_is_an_epoch_the_same_in_every_process(site: Site) -> None:
    opened(site, FIRST)
    again, once_more = FIRST + timedelta(hours=1), FIRST + timedelta(days=3)
    assert [epoch(site, at) for at in (FIRST, again, FIRST, again, once_more, again)] == [0, 1, 0, 1, 2, 1]
    assert [event.type for event in site.services.log.read("a/1")].count("run.begun") == 2


def test_a_run_that_says_nothing_of_its_start_is_in_its_first_epoch(site: Site) -> None:
    assert epoch(site, FIRST) == 0, "never opened"
    opened(site, None)
    assert epoch(site, FIRST) == 0
    assert epoch(site, None) == 0


def test_of_two_that_begin_an_execution_at_the_same_moment_each_has_a_number_of_its_own(site: Site) -> None:
    """Airflow's clearing, and the undoing of the run that asked for this one."""
    opened(site, FIRST)

    class Meanwhile(RunLog):
        other = True

        async def aappend(self, stream: str, events: Sequence[NewEvent], **more: Any) -> list[Event]:
            if self.other:
                self.other = False
                await begin_epoch(site.services, stream, "begun/undo/b/1", None, undone_with="b/1")
            return await super().aappend(stream, events, **more)

    log = Meanwhile(site.services.database, lambda: MASTER)
    again = FIRST + timedelta(hours=1)
    assert site.do(begin_epoch(replace(site.services, log=log), "a/1", "begun/again", again.isoformat())).number == 2
    begun = site.services.log.read("a/1", types=["run.begun"])
    assert [(event.epoch, event.data.get("undone_with")) for event in begun] == [(1, "b/1"), (2, None)]
